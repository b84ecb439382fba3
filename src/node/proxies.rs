//! Where a request comes from when proxies stand in between.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use parking_lot::Mutex;

use super::limiters::network_of;
use crate::config::{Config, ForwardingHeader, proxies};
use crate::core::forwarded::{Notation, client_address};

/// Unlisted peers that are remembered for having sent a forwarding header, each warned of once. Whoever comes after
/// them is as little believed, without a warning.
pub const STRANGERS_MAX: usize = 64;

/// The lines of a request's forwarding headers, in the order they came.
#[derive(Debug, Default)]
pub struct Forwarding<'a> {
    pub x_forwarded_for: Vec<&'a [u8]>,
    pub forwarded: Vec<&'a [u8]>,
}

/// The proxies in front of this node.
#[derive(Debug)]
pub(super) struct Proxies {
    listed: Vec<IpNet>,
    header: ForwardingHeader,
    strangers: Mutex<HashSet<IpAddr>>,
}

impl Proxies {
    /// Those of a configuration that has been validated.
    pub(super) fn of(config: &Config) -> Self {
        let networks = config.trusted_proxies.iter();
        Self {
            listed: networks.filter_map(|text| proxies::network(text).ok()).collect(),
            header: config.forwarding_header,
            strangers: Mutex::default(),
        }
    }

    /// Whether the word of this peer is taken.
    pub(super) fn is_listed(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.listed.iter().any(|network| network.contains(&address))
    }

    /// Whether many callers may share this address: a listed proxy, or a peer that behaves as one.
    pub(super) fn may_be_one(&self, address: IpAddr) -> bool {
        self.is_listed(address) || self.strangers.lock().contains(&network_of(address))
    }

    /// Whose request it is: what a listed peer says, counted from the right; the peer itself when it is not listed, or
    /// when what it says names no client.
    pub(super) fn client_of(&self, peer: IpAddr, said: &Forwarding<'_>) -> IpAddr {
        let peer = peer.to_canonical();
        if said.x_forwarded_for.is_empty() && said.forwarded.is_empty() {
            return peer;
        }
        if !self.is_listed(peer) {
            self.warn_of(peer);
            return peer;
        }
        let read = |notation, lines: &[&[u8]]| {
            client_address(notation, lines.iter().copied(), |address| self.is_listed(address))
        };
        let x = || read(Notation::XForwardedFor, &said.x_forwarded_for);
        let forwarded = || read(Notation::Forwarded, &said.forwarded);
        let client = match self.header {
            ForwardingHeader::XForwardedFor => x(),
            ForwardingHeader::Forwarded => forwarded(),
            ForwardingHeader::Any if said.forwarded.is_empty() => x(),
            ForwardingHeader::Any if said.x_forwarded_for.is_empty() => forwarded(),
            ForwardingHeader::Any => x().filter(|client| forwarded() == Some(*client)),
        };
        client.unwrap_or(peer)
    }

    fn warn_of(&self, peer: IpAddr) {
        let mut strangers = self.strangers.lock();
        let known = strangers.len() >= STRANGERS_MAX || !strangers.insert(network_of(peer));
        drop(strangers);
        if !known {
            tracing::warn!(
                %peer,
                "a forwarding header came from a peer that is not listed, and is not believed: \
                 if it is a proxy of yours, add it to trusted_proxies"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: ForwardingHeader) -> Proxies {
        Proxies::of(&Config {
            trusted_proxies: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()],
            forwarding_header: header,
            ..Config::default()
        })
    }

    fn client(proxies: &Proxies, peer: &str, x: &[&str], forwarded: &[&str]) -> String {
        let said = Forwarding {
            x_forwarded_for: x.iter().map(|line| line.as_bytes()).collect(),
            forwarded: forwarded.iter().map(|line| line.as_bytes()).collect(),
        };
        proxies.client_of(peer.parse().unwrap(), &said).to_string()
    }

    #[test]
    fn only_listed_peers_are_believed() {
        let proxies = proxies(ForwardingHeader::Any);
        for (peer, answer) in [
            ("10.0.0.1", "203.0.113.9"),
            ("::ffff:10.0.0.1", "203.0.113.9"),
            ("2001:db8::7", "203.0.113.9"),
            ("198.51.100.1", "198.51.100.1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(client(&proxies, peer, &["203.0.113.9"], &[]), answer, "{peer}");
        }
        assert_eq!(client(&proxies, "10.0.0.1", &[], &[]), "10.0.0.1");
        assert_eq!(client(&proxies, "10.0.0.1", &["rubbish"], &[]), "10.0.0.1");
        assert!(proxies.may_be_one("10.2.0.1".parse().unwrap()));
        assert!(
            proxies.may_be_one("198.51.100.1".parse().unwrap()),
            "it behaves as one"
        );
        assert!(!proxies.may_be_one("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn two_headers_agree_or_the_named_one_counts() {
        let both =
            |header, x: &str, forwarded: &str| client(&proxies(header), "10.0.0.1", &[x], &[forwarded]);
        let (ours, forged) = ("203.0.113.9", "for=198.51.100.1");
        assert_eq!(both(ForwardingHeader::Any, ours, "for=203.0.113.9"), ours);
        assert_eq!(both(ForwardingHeader::Any, ours, forged), "10.0.0.1");
        assert_eq!(both(ForwardingHeader::Any, ours, "rubbish"), "10.0.0.1");
        assert_eq!(both(ForwardingHeader::XForwardedFor, ours, forged), ours);
        assert_eq!(both(ForwardingHeader::Forwarded, ours, forged), "198.51.100.1");
        let alone = proxies(ForwardingHeader::Forwarded);
        assert_eq!(client(&alone, "10.0.0.1", &[ours], &[]), "10.0.0.1");
        assert_eq!(
            client(&proxies(ForwardingHeader::Any), "10.0.0.1", &[], &[forged]),
            "198.51.100.1"
        );
    }

    #[test]
    fn strangers_are_remembered_up_to_a_bound() {
        let proxies = proxies(ForwardingHeader::Any);
        for _ in 0..2 {
            for last in 0..=255 {
                let peer = format!("198.51.100.{last}");
                assert_eq!(client(&proxies, &peer, &["203.0.113.9"], &[]), peer);
            }
        }
        assert_eq!(proxies.strangers.lock().len(), STRANGERS_MAX);
    }
}
