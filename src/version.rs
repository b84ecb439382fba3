//! Which program this is. What `build.rs` found out about the build comes in here.

/// The version with the commit it was built from, such as `0.1.0 (c8d71a1b2c3d)`.
pub const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_COMMIT"), ")");

/// The same with features, profile, target and compiler, a line each.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("BUILT_COMMIT"),
    ")\nfeatures: ",
    env!("BUILT_FEATURES"),
    "\nprofile: ",
    env!("BUILT_PROFILE"),
    "\ntarget: ",
    env!("BUILT_TARGET"),
    "\ncompiler: ",
    env!("BUILT_COMPILER"),
);
