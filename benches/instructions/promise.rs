//! What no baseline may allow: that a delivery allocates. Without I/O: `tests/instructions.rs` tests it.

/// One message to a thousand members, and to ten.
pub const LARGE: &str = "fanout/1_to_1000";
pub const SMALL: &str = "fanout/1_to_10";

/// What the larger room may allocate more, for all its members together: a list of members that grew by doubling would
/// take seven steps more from ten to a thousand. One allocation for each member would be 990.
pub const MORE_MAX: u64 = 7;

/// Whether fan-out allocates nothing for each member. Nothing is said when one of the two paths was not counted.
///
/// # Errors
/// What was counted.
pub fn no_allocation_per_member(allocations: impl Fn(&str) -> Option<u64>) -> Result<(), String> {
    match (allocations(LARGE), allocations(SMALL)) {
        (Some(large), Some(small)) if large > small + MORE_MAX => Err(format!(
            "{LARGE} allocates {large} times and {SMALL} {small} times: more than {MORE_MAX} more, so something is \
             allocated for each member. No baseline is written that allows it."
        )),
        _ => Ok(()),
    }
}
