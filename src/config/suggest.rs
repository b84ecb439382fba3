//! What somebody meant who wrote a name that there is none of.

/// The name that is closest to `written`, when it is close, two letters out of six, or goes on where `written` ends.
pub(super) fn closest<'a>(
    written: &str,
    mut names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let allowed = (written.chars().count() / 3).max(1);
    let begun = |name: &&str| written.len() >= BEGINNING_BYTES_MIN && name.starts_with(written);
    let near = names
        .clone()
        .map(|name| (strsim::osa_distance(written, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name);
    near.or_else(|| names.find(begun))
}

/// From here on a beginning says enough.
const BEGINNING_BYTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let names = ["rotate_ms", "idle_ms", "lifetime_ms"];
        for (written, meant) in [
            ("rotate_sm", Some("rotate_ms")),
            ("rotates_ms", Some("rotate_ms")),
            ("rotate", Some("rotate_ms")),
            ("lifetime", Some("lifetime_ms")),
            ("life", Some("lifetime_ms")),
            ("rot", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(written, names.into_iter()), meant, "{written}");
        }
    }
}
