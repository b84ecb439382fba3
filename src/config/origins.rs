//! Origins as browsers send them.

/// Whether `text` is an origin as browsers send it.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b))
}

/// The origin as browsers send it, where `text` names the port that its scheme has anyhow.
fn without_default_port(text: &str) -> Option<&str> {
    match text.split_once("://")? {
        ("http", _) => text.strip_suffix(":80"),
        ("https", _) => text.strip_suffix(":443"),
        _ => None,
    }
}

/// What is wrong with an origin, as a sentence that says what to write.
pub(super) fn problem(origin: &str) -> Option<String> {
    if !is_origin(origin) {
        return Some(format!(
            "{origin:?} is no origin: write scheme://host or scheme://host:port in lower case, without a path"
        ));
    }
    let without = without_default_port(origin)?;
    Some(format!(
        "{origin:?} matches no page, as browsers leave the usual port out: write {without:?}"
    ))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_would_match_nothing_is_refused() {
        let problems = |text: &str| {
            let refused = Config::from_toml(text).unwrap().validate();
            refused.err().unwrap_or_default().join("\n")
        };
        for (text, part) in [
            (
                "public_origin = \"https://login.example:443\"",
                "write \"https://login.example\"",
            ),
            (
                "public_origin = \"http://login.example:80\"",
                "write \"http://login.example\"",
            ),
            (
                "allowed_origins = [\"https://[::1]:443\"]",
                "write \"https://[::1]\"",
            ),
            ("operator_hosts = [\"OPS.example\"]", "lower case"),
            ("operator_hosts = [\"http://ops.example\"]", "without a scheme"),
            ("trusted_proxies = [\"::ffff:10.0.0.0/104\"]", "write 10.0.0.0/8"),
        ] {
            assert!(problems(text).contains(part), "{text}: {}", problems(text));
        }
        for sound in [
            "public_origin = \"http://login.example:443\"",
            "public_origin = \"https://login.example:80\"",
            "allowed_origins = [\"https://login.example:8443\", \"https://login.example\"]",
            "operator_hosts = [\"ops.example:9090\", \"ops\"]",
        ] {
            assert_eq!(problems(sound), "", "{sound}");
        }
    }
}
