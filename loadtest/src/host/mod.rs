//! What is asked of the operating system: processor time, memory, pinning, child processes, the machine's
//! name; and of a gateway, what its own says of it.

pub mod child;
pub mod exposition;
pub mod limits;
pub mod machine;
pub mod metrics;
pub mod pin;
pub mod process;
pub mod server;
pub mod usage;
