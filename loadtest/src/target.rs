//! Where to connect, and from which addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A gateway, as `ws://host:port[/path]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The address connected to.
    pub addr: SocketAddr,
    /// `host:port` as written, for the `Host` header.
    pub authority: String,
    /// Path of the upgrade, `/v1/ws` when the URL has none.
    pub path: String,
}

impl Target {
    /// Reads and resolves a target. Anything but loopback needs `remote`, so that a slip of the keyboard
    /// does not load somebody else's machine.
    pub fn parse(url: &str, remote: Remote) -> Result<Target> {
        let rest = url.strip_prefix("ws://").ok_or_else(|| {
            Error::Usage(format!(
                "{url}: a target is ws://host:port (TLS is not measured here)"
            ))
        })?;
        Target::of(rest, "/v1/ws", remote)
    }

    /// Reads and resolves where a gateway's metrics are: `http://host:port[/path]` of its operator's port,
    /// `/metrics` when the URL has no path. `remote` as for [`Target::parse`].
    pub fn metrics(url: &str, remote: Remote) -> Result<Target> {
        let rest = url.strip_prefix("http://").filter(|rest| {
            let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'@' | b'#');
            rest.bytes().all(plain)
        });
        let rest = rest.ok_or_else(|| {
            Error::Usage(format!(
                "{url}: --metrics is http://host:port/metrics of the gateway's operator port"
            ))
        })?;
        Target::of(rest, "/metrics", remote)
    }

    fn of(rest: &str, default_path: &str, remote: Remote) -> Result<Target> {
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let path = if path.is_empty() || path == "/" {
            default_path
        } else {
            path
        };
        let addr = authority
            .to_socket_addrs()
            .map_err(|e| Error::Usage(format!("{authority}: {e}")))?
            .next()
            .ok_or_else(|| Error::Usage(format!("{authority}: no address")))?;
        if remote == Remote::Refused && !addr.ip().is_loopback() {
            return Err(Error::Usage(format!(
                "{authority} is not loopback; say --allow-remote if that machine is yours to load"
            )));
        }
        Ok(Target {
            addr,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The target as a URL.
    pub fn url(&self) -> String {
        format!("ws://{}{}", self.authority, self.path)
    }
}

/// Whether targets beyond this machine are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    Refused,
    Allowed,
}

/// Hands out source addresses of 127.0.0.0/8, so that a limit per address is met and not switched off.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sources {
    per_address: usize,
    /// The first address, counted from 127.0.1.1.
    first: usize,
    spread: bool,
}

impl Sources {
    /// At most `per_address` connections from one address. Only a target in 127.0.0.0/8 can be reached
    /// from there; for others the kernel chooses.
    pub fn new(target: &Target, per_address: usize) -> Sources {
        Sources {
            per_address: per_address.max(1),
            first: 0,
            spread: matches!(target.addr.ip(), IpAddr::V4(ip) if ip.is_loopback()),
        }
    }

    /// The addresses of part `index`, when each part has at most `connections`: parts have none in common.
    pub fn part(self, index: usize, connections: usize) -> Sources {
        Sources {
            first: self.first + index * connections.div_ceil(self.per_address),
            ..self
        }
    }

    /// The source of connection number `index`: 127.0.1.1, 127.0.1.2, … ; `None`: any.
    pub fn of(&self, index: usize) -> Option<Ipv4Addr> {
        const PER_BLOCK: usize = 250;
        if !self.spread {
            return None;
        }
        let k = self.first + index / self.per_address;
        let byte = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let (block, host) = (k / PER_BLOCK + 1, k % PER_BLOCK + 1);
        Some(Ipv4Addr::new(
            127,
            byte(block / 256 % 256),
            byte(block % 256),
            byte(host),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn urls() {
        let t = Target::parse("ws://127.0.0.1:8080", Remote::Refused).unwrap();
        assert_eq!(
            (t.path.as_str(), t.url().as_str()),
            ("/v1/ws", "ws://127.0.0.1:8080/v1/ws")
        );
        let t = Target::parse("ws://127.0.0.1:1/x", Remote::Refused).unwrap();
        assert_eq!(t.path, "/x");
        for bad in ["http://127.0.0.1:1", "ws://127.0.0.1", "ws://192.0.2.1:80"] {
            assert!(Target::parse(bad, Remote::Refused).is_err(), "{bad}");
        }
        assert!(Target::parse("ws://192.0.2.1:80", Remote::Allowed).is_ok());
    }

    #[test]
    fn urls_of_metrics() {
        for (url, path) in [
            ("http://127.0.0.1:9090", "/metrics"),
            ("http://127.0.0.1:9090/", "/metrics"),
            ("http://127.0.0.1:9090/a/metrics", "/a/metrics"),
        ] {
            assert_eq!(Target::metrics(url, Remote::Refused).unwrap().path, path);
        }
        for (bad, why) in [
            ("https://127.0.0.1:1", "http://host:port/metrics"),
            ("127.0.0.1:1", "http://host:port/metrics"),
            ("http://me@127.0.0.1:1", "http://host:port/metrics"),
            ("http://127.0.0.1:1/a b", "http://host:port/metrics"),
            ("http://127.0.0.1:1/a\r\nb: c", "http://host:port/metrics"),
            ("http://127.0.0.1", "127.0.0.1"),
            ("http://192.0.2.1:9090/metrics", "--allow-remote"),
        ] {
            let error = Target::metrics(bad, Remote::Refused).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(Target::metrics("http://192.0.2.1:9090/metrics", Remote::Allowed).is_ok());
    }

    #[test]
    fn no_source_address_is_used_more_often_than_said() {
        let target = Target::parse("ws://127.0.0.1:8080", Remote::Refused).unwrap();
        let sources = Sources::new(&target, 150);
        let mut seen: HashMap<Ipv4Addr, usize> = HashMap::new();
        for i in 0..100_000 {
            *seen.entry(sources.of(i).unwrap()).or_default() += 1;
        }
        assert!(seen.values().all(|n| *n <= 150));
        assert!(seen.keys().all(Ipv4Addr::is_loopback));
        assert!(!seen.contains_key(&Ipv4Addr::LOCALHOST));
        let of = |part: usize| {
            let part = sources.part(part, 400);
            (0..400)
                .map(move |i| part.of(i).unwrap())
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((of(0).len(), of(0).first()), (3, sources.of(0).as_ref()));
        assert!(of(0).is_disjoint(&of(1)) && of(1).is_disjoint(&of(2)));
    }
}
