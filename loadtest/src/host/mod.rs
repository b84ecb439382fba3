//! What is asked of the operating system: processor time, memory, pinning, child processes, the machine's
//! name.

pub mod child;
pub mod limits;
pub mod machine;
pub mod pin;
pub mod process;
pub mod usage;
