//! Where a request comes from when proxies stand in between.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::limiters::network_of;
use super::refusal::Refusal;
use crate::config::{Config, ForwardingHeader, proxies};
use crate::core::forwarded::{Notation, client_address};

/// Networks of unlisted peers that are remembered for having sent a forwarding header; one more takes the place of the
/// one that was silent for longest. As many are warned of in a process's life.
pub const STRANGERS_MAX: usize = 64;
/// How long one is remembered after such a header, ms: an hour.
pub const STRANGER_MS: u64 = 3_600_000;

/// The lines of a request's forwarding headers, in the order they came.
#[derive(Debug, Default)]
pub struct Forwarding<'a> {
    pub x_forwarded_for: Vec<&'a [u8]>,
    pub forwarded: Vec<&'a [u8]>,
}

impl Forwarding<'_> {
    fn is_nothing(&self) -> bool {
        self.x_forwarded_for.is_empty() && self.forwarded.is_empty()
    }
}

/// Who is at the other end of a connection, as far as its bytes and its proxy say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody at an address. What its requests say of where they come from is heard, and believed when it is listed.
    At(IpAddr),
    /// A proxy that has said of this connection that it is its own, or that it cannot name whose it is. What its
    /// requests say may be anybody's, so it is not heard.
    ProxyItself(IpAddr),
    /// Whoever may connect to the Unix-domain socket.
    Local,
}

/// The proxies in front of this node.
#[derive(Debug)]
pub(super) struct Proxies {
    listed: ArcSwap<Listed>,
    strangers: Mutex<Strangers>,
    disagreed: AtomicBool,
}

/// What a reload may change.
#[derive(Debug)]
struct Listed {
    networks: Vec<IpNet>,
    header: ForwardingHeader,
}

impl Listed {
    fn of(config: &Config) -> Self {
        let networks = config.trusted_proxies.iter();
        Self {
            networks: networks.filter_map(|text| proxies::network(text).ok()).collect(),
            header: config.forwarding_header,
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Unlisted peers that behave as proxies.
#[derive(Debug, Default)]
struct Strangers {
    /// Their networks and when they last did, the most recent last.
    seen: VecDeque<(IpAddr, u64)>,
    warned: usize,
}

impl Strangers {
    /// Whether this one is worth a warning.
    fn saw(&mut self, network: IpAddr, now: u64) -> bool {
        let known = self.seen.iter().position(|(seen, _)| *seen == network);
        if let Some(at) = known {
            self.seen.remove(at);
        } else if self.seen.len() >= STRANGERS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((network, now));
        let warn = known.is_none() && self.warned < STRANGERS_MAX;
        self.warned += usize::from(warn);
        warn
    }

    fn knows(&self, network: IpAddr, now: u64) -> bool {
        let lately = |at: u64| now.saturating_sub(at) < STRANGER_MS;
        self.seen.iter().any(|(seen, at)| *seen == network && lately(*at))
    }
}

impl Proxies {
    /// Those of a configuration that has been validated.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listed: ArcSwap::from_pointee(Listed::of(config)),
            strangers: Mutex::default(),
            disagreed: AtomicBool::new(false),
        }
    }

    /// Believes those of another configuration from here on. What is remembered of strangers stays.
    pub(super) fn renew(&self, config: &Config) {
        self.listed.store(Arc::new(Listed::of(config)));
    }

    /// Whether the word of this peer is taken.
    pub(super) fn is_listed(&self, address: IpAddr) -> bool {
        self.listed.load().has(address)
    }

    /// Whether many callers may share this address: a listed proxy, or a peer that lately behaved as one.
    pub(super) fn may_be_one(&self, address: IpAddr, now: u64) -> bool {
        self.is_listed(address) || self.strangers.lock().knows(network_of(address), now)
    }

    /// Whose request it is: what a listed peer says, counted from the right; the peer itself when it is not listed, or
    /// when what it says names no client.
    ///
    /// # Errors
    /// `bad_request` when its two headers do not name the same client and none is configured: one of them may be the
    /// caller's own, and neither believing it nor counting the caller as the proxy would be right.
    pub(super) fn client_of(&self, peer: IpAddr, said: &Forwarding<'_>, now: u64) -> Result<IpAddr, Refusal> {
        let peer = peer.to_canonical();
        if said.is_nothing() {
            return Ok(peer);
        }
        if !self.is_listed(peer) {
            self.saw_stranger(peer, now);
            return Ok(peer);
        }
        Ok(self.named(said, Some(peer))?.unwrap_or(peer))
    }

    /// Whose request it is that came over a Unix-domain socket: whoever may connect there is believed, and has no
    /// address of its own that could be meant.
    ///
    /// # Errors
    /// `bad_request` when nobody is named, and as in [`Proxies::client_of`].
    pub(super) fn client_of_local(&self, said: &Forwarding<'_>) -> Result<IpAddr, Refusal> {
        self.named(said, None)?.ok_or_else(|| {
            Refusal::bad_request(
                "over a Unix-domain socket each request names its client: have the proxy set X-Forwarded-For or Forwarded",
            )
        })
    }

    /// Whom a believed peer names.
    fn named(&self, said: &Forwarding<'_>, peer: Option<IpAddr>) -> Result<Option<IpAddr>, Refusal> {
        let listed = self.listed.load();
        let read = |notation, lines: &[&[u8]]| {
            client_address(notation, lines.iter().copied(), |address| listed.has(address))
        };
        let x = || read(Notation::XForwardedFor, &said.x_forwarded_for);
        let forwarded = || read(Notation::Forwarded, &said.forwarded);
        let client = match listed.header {
            ForwardingHeader::XForwardedFor => x(),
            ForwardingHeader::Forwarded => forwarded(),
            ForwardingHeader::Any if said.forwarded.is_empty() => x(),
            ForwardingHeader::Any if said.x_forwarded_for.is_empty() => forwarded(),
            ForwardingHeader::Any => {
                let client = x();
                if client != forwarded() {
                    return Err(self.disagreement(peer));
                }
                client
            }
        };
        Ok(client)
    }

    /// Warned of once in a process's life: callers can bring it about.
    fn disagreement(&self, peer: Option<IpAddr>) -> Refusal {
        if !self.disagreed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                peer = peer.map(tracing::field::display),
                "a listed proxy sent X-Forwarded-For and Forwarded that name different clients, and the request was \
                 refused: set forwarding_header to the one it writes"
            );
        }
        Refusal::bad_request(
            "X-Forwarded-For and Forwarded do not name the same client: whoever runs this gateway has to set \
             forwarding_header to the one that the proxy writes",
        )
    }

    fn saw_stranger(&self, peer: IpAddr, now: u64) {
        let warn = self.strangers.lock().saw(network_of(peer), now);
        if warn {
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
        match proxies.client_of(peer.parse().unwrap(), &said, 0) {
            Ok(client) => client.to_string(),
            Err(refusal) => refusal.status().to_string(),
        }
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
        let may_be_one = |address: &str, now| proxies.may_be_one(address.parse().unwrap(), now);
        assert!(may_be_one("10.2.0.1", 0) && may_be_one("10.2.0.1", STRANGER_MS));
        assert!(may_be_one("198.51.100.1", STRANGER_MS - 1), "it behaved as one");
        assert!(!may_be_one("198.51.100.1", STRANGER_MS), "that was long ago");
        assert!(!may_be_one("203.0.113.9", 0));
    }

    #[test]
    fn two_headers_agree_or_the_named_one_counts() {
        let both =
            |header, x: &str, forwarded: &str| client(&proxies(header), "10.0.0.1", &[x], &[forwarded]);
        let (ours, forged) = ("203.0.113.9", "for=198.51.100.1");
        assert_eq!(both(ForwardingHeader::Any, ours, "for=203.0.113.9"), ours);
        // A caller that the proxy passes one header on for does not become the proxy by writing there.
        for unread in [forged, "x", "", "for=unknown", "for=10.0.0.9"] {
            assert_eq!(both(ForwardingHeader::Any, ours, unread), "400", "{unread}");
        }
        assert_eq!(both(ForwardingHeader::Any, "rubbish", forged), "400");
        assert_eq!(
            both(ForwardingHeader::Any, "10.0.0.7", "for=10.0.0.7"),
            "10.0.0.1"
        );
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
    fn strangers_are_remembered_up_to_a_bound_and_the_last_ones() {
        let proxies = proxies(ForwardingHeader::Any);
        let known = |last| proxies.may_be_one(IpAddr::from([198, 51, 100, last]), 0);
        for _ in 0..2 {
            for last in 0..=255 {
                // The first one goes on sending, so it stays.
                for peer in ["198.51.100.0".to_owned(), format!("198.51.100.{last}")] {
                    assert_eq!(client(&proxies, &peer, &["203.0.113.9"], &[]), peer);
                }
                assert!(known(0) && known(last));
            }
        }
        assert!(known(255 - 62) && !known(255 - 63));
        let strangers = proxies.strangers.lock();
        assert_eq!(
            (strangers.seen.len(), strangers.warned),
            (STRANGERS_MAX, STRANGERS_MAX)
        );
    }
}
