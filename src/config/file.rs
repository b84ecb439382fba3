//! What is wrong with a configuration file.

/// Where and what, without the line itself: a secret may stand in it.
pub(super) fn problem(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        text.as_bytes()
            .iter()
            .take(span.start)
            .filter(|b| **b == b'\n')
            .count()
            + 1
    });
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_is_wrong_is_told_without_the_line() {
        for bad in [
            "operator_key = secret9f3a",
            "operator_key = [\"secret9f3a\"]",
            "operator_key = \"secret9f3a",
        ] {
            let told = Config::from_toml(&format!("# one\n{bad}\n")).unwrap_err();
            assert!(
                told.starts_with("line 2: ") && !told.contains("secret9f3a"),
                "{told}"
            );
        }
    }
}
