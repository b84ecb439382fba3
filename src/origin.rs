//! Which pages may talk to us: exact origins, never derived from what a request says about its host.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// The allow-list.
#[derive(Debug)]
pub struct Origins {
    public: String,
    allowed: ArcSwap<Vec<String>>,
    /// Without a configured origin the gateway is somebody's own machine: pages from loopback names, any port.
    loopback: bool,
}

impl Origins {
    /// `public` is where browsers find us; `configured` says whether an operator wrote it down.
    pub fn new(public: String, configured: bool, allowed: &[String]) -> Self {
        Self {
            public,
            allowed: ArcSwap::from_pointee(allowed.to_vec()),
            loopback: !configured,
        }
    }

    /// Allows others beside the public one from here on; connections that are open stay.
    pub fn renew(&self, allowed: &[String]) {
        self.allowed.store(Arc::new(allowed.to_vec()));
    }

    /// Where browsers find us, such as `https://login.example`; no slash at the end.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Whether a page of this origin may connect. The value is compared as the browser sent it.
    pub fn allows(&self, origin: &str) -> bool {
        origin == self.public
            || self.allowed.load().iter().any(|a| a == origin)
            || (self.loopback && is_loopback(origin))
    }
}

fn is_loopback(origin: &str) -> bool {
    let Some(rest) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| match rest.strip_prefix(name) {
            Some("") => true,
            Some(port) => port.strip_prefix(':').is_some_and(|p| {
                !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok()
            }),
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_origins_pass() {
        let origins = Origins::new(
            "https://login.example".into(),
            true,
            &["https://app.example:8443".into()],
        );
        assert!(origins.allows("https://login.example") && origins.allows("https://app.example:8443"));
        for foreign in [
            "null",
            "",
            "https://login.example.evil",
            "https://evil.login.example",
            "http://login.example",
            "https://login.example:443",
            "https://LOGIN.example",
            "https://login.example/",
            "https://app.example",
            "https://app.example:84433",
            "https://user@login.example",
            "https://login.example#",
            "http://127.0.0.1:8080",
            "http://localhost",
            "https://login.exampl\u{435}",
            "https://xn--login-.example",
            "file://",
            "https://login.example ",
        ] {
            assert!(!origins.allows(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_own_machine_trusts_loopback_names_and_nothing_like_them() {
        let origins = Origins::new("http://127.0.0.1:8080".into(), false, &[]);
        for own in [
            "http://127.0.0.1:8080",
            "http://localhost:3000",
            "https://localhost",
            "http://[::1]:1",
        ] {
            assert!(origins.allows(own), "{own}");
        }
        for foreign in [
            "http://127.0.0.1.evil.example",
            "http://localhost.evil",
            "http://localhost:80.evil",
            "http://127.0.0.2",
            "http://localhost:",
            "http://localhost:99999",
            "http://evil@localhost",
            "http://localhost@evil",
            "null",
            "http://192.168.0.1",
            "ws://localhost",
        ] {
            assert!(!origins.allows(foreign), "{foreign}");
        }
    }
}
