//! What an operator needs of a process.

pub mod advice;
pub mod batches;
pub mod descriptors;
pub mod ids;
pub mod log_format;
pub mod logging;
pub mod machine;
pub mod metrics;
pub mod probe;
pub mod sampling;
