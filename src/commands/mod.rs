//! What the program does beside serving.

pub(crate) mod check;
pub(crate) mod hash;
