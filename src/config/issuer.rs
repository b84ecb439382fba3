//! What names the gateway in its tokens.

use super::{Config, origins};
use crate::greeting::leaves_this_machine;

impl Config {
    /// What is wrong with `tokens.issuer` (RFC 8414 §2), as a sentence that says what to write.
    pub(super) fn issuer_problem(&self) -> Option<String> {
        let issuer = self.tokens.issuer.as_deref()?;
        (!is_issuer(issuer)).then(|| {
            format!(
                "tokens.issuer = {issuer:?} is no issuer: write an https address (http on loopback) without a query, a \
                 fragment and a slash at its end, or leave it out for public_origin"
            )
        })
    }

    /// Whether programs that discover the endpoints will refuse what they read: RFC 8414 §3.3 has them compare.
    pub(super) fn issuer_doubt(&self) -> Option<String> {
        let issuer = self.tokens.issuer.as_deref()?;
        let origin = self.public_origin.as_deref()?;
        (issuer != origin).then(|| {
            format!(
                "tokens.issuer = {issuer:?} is not public_origin = {origin:?}: what reads \
                 {origin}/.well-known/oauth-authorization-server refuses another issuer (RFC 8414)"
            )
        })
    }
}

fn is_issuer(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let origin = format!("{scheme}://{host}");
    let known = |b: u8| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b);
    origins::is_origin(&origin)
        && (scheme == "https" || !leaves_this_machine(&origin))
        && !path.ends_with('/')
        && path.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_address() {
        for sound in [
            "https://login.example",
            "https://login.example:8443/realms/a",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://localhost",
        ] {
            assert!(is_issuer(sound), "{sound}");
        }
        for wrong in [
            "countersign",
            "",
            "https://",
            "https:///a",
            "https://login.example/",
            "https://login.example/a/",
            "https://login.example?a",
            "https://login.example/a#b",
            "https://Login.example",
            "https://login.example/a b",
            "http://login.example",
            "ftp://login.example",
        ] {
            assert!(!is_issuer(wrong), "{wrong}");
            let config = Config::from_toml(&format!("tokens.issuer = {wrong:?}")).unwrap();
            let told = config.validate().unwrap_err().join("\n");
            assert!(told.contains("is no issuer"), "{told}");
        }
    }

    #[test]
    fn one_that_is_not_where_it_is_read_is_doubted() {
        let doubted = |text: &str| {
            let config = Config::from_toml(text).unwrap();
            assert_eq!(config.validate(), Ok(()));
            config
                .doubts()
                .iter()
                .any(|found| found.text.starts_with("tokens.issuer"))
        };
        let origin = "public_origin = \"https://login.example\"\n";
        assert!(doubted(&format!(
            "{origin}tokens.issuer = \"https://id.example\""
        )));
        assert!(!doubted(&format!(
            "{origin}tokens.issuer = \"https://login.example\""
        )));
        assert!(!doubted(origin));
    }
}
