//! What is asked of the operating system: processor time, memory, pinning, the machine's name.

pub mod limits;
pub mod machine;
pub mod pin;
pub mod process;
pub mod usage;
