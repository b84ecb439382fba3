//! What an operator needs of a process.

pub mod batches;
pub mod descriptors;
pub mod logging;
pub mod machine;
pub mod metrics;
