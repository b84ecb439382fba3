//! What the operator's port asks of whoever wants something changed.

use std::fmt;

use super::value::Text;

/// Shortest operator key, bytes: with it, guessing at the rate of a socket is no way in.
pub const OPERATOR_KEY_BYTES_MIN: usize = 24;
/// Longest operator key, bytes.
pub const OPERATOR_KEY_BYTES_MAX: usize = 256;

/// A secret of the operator's. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorKey(String);

impl OperatorKey {
    /// As it was written.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, to compare with.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is wrong with it, as a sentence that says what to set.
    pub(super) fn problem(&self) -> Option<String> {
        let long = (OPERATOR_KEY_BYTES_MIN..=OPERATOR_KEY_BYTES_MAX).contains(&self.0.len());
        let visible = self.0.bytes().all(|b| b.is_ascii_graphic());
        (!long || !visible).then(|| {
            format!(
                "operator_key is {OPERATOR_KEY_BYTES_MIN} to {OPERATOR_KEY_BYTES_MAX} visible ASCII characters without spaces: \
                 `openssl rand -hex 32` makes one"
            )
        })
    }
}

impl Text for OperatorKey {
    fn of(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
    fn text(&self) -> String {
        "not shown".into()
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey(..)")
    }
}

/// What is wrong with an entry of `operator_hosts`, as a sentence that says what to write.
pub(super) fn host_problem(host: &str) -> Option<String> {
    (!is_host(host)).then(|| {
        format!(
            "operator_hosts: {host:?} is no host: write name or name:port in lower case, such as ops.example:9090, \
             without a scheme or a path"
        )
    })
}

/// Whether `text` is a `Host` header as it is sent for a name in lower case: `name`, `name:port`, or an address with
/// brackets around an IPv6 one.
fn is_host(text: &str) -> bool {
    let name_end = if text.starts_with('[') {
        text.find(']').map(|at| at + 1)
    } else {
        text.find(':')
    };
    let (name, port) = text.split_at(name_end.unwrap_or(text.len()));
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    let named = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(known),
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    named && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        for good in [
            "ops",
            "ops.example",
            "ops.example:9090",
            "192.0.2.7:80",
            "[2001:db8::1]",
            "[::1]:9090",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "Ops",
            "ops.example:",
            "ops:99999",
            "ops:+1",
            "http://ops",
            "ops/",
            "ops ",
            "a,b",
            "2001:db8::1",
            "[::1",
            "[ops]",
            "[::1]x",
            "*.example",
            "u@ops",
        ] {
            assert!(!is_host(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_long_enough_and_can_be_sent() {
        let problem = |text: &str| OperatorKey::new(text.into()).problem();
        assert_eq!(problem(&"k".repeat(24)), None);
        assert_eq!(problem(&"k".repeat(256)), None);
        for bad in [
            "",
            "short",
            &"k".repeat(23),
            &"k".repeat(257),
            &" ".repeat(24),
            &"é".repeat(24),
        ] {
            assert!(problem(bad).is_some_and(|p| p.contains("openssl")), "{bad:?}");
        }
    }

    #[test]
    fn a_file_may_have_it() {
        let read = |key: &str| crate::config::Config::from_toml(&format!("operator_key = {key:?}")).unwrap();
        assert_eq!(read(&"k".repeat(24)).validate(), Ok(()));
        assert!(
            read("short")
                .validate()
                .is_err_and(|p| p[0].contains("operator_key"))
        );
    }

    #[test]
    fn it_is_not_printed() {
        assert_eq!(
            format!("{:?}", OperatorKey::new("secret".into())),
            "OperatorKey(..)"
        );
    }
}
