//! Which addresses are one caller.

use std::net::{IpAddr, Ipv6Addr};

/// A /48 may do as much as so many of its /64: a household or a company is given a /56 or a /48, of which
/// whoever wants to evade a bound takes as many /64 as there are.
pub const SITE_FACTOR: u32 = 8;

/// What a limit counts under: an address, the /64 of an IPv6 address (the smallest network a host is given), or
/// its /48. Keys of different breadth are never equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    pub key: IpAddr,
    /// How many times the bound of one address holds for it.
    pub factor: u32,
}

/// The address a limit counts under: itself, or its /64.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The /48 of an IPv6 address, told from a /64 by its last segment, which is 48.
pub fn site_of(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Some(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 48)))
        }
    }
}

/// All that an address counts under, narrow ones first: one or two.
pub fn scopes_of(address: IpAddr) -> impl Iterator<Item = Scope> {
    let network = Scope {
        key: network_of(address),
        factor: 1,
    };
    let site = site_of(address).map(|key| Scope {
        key,
        factor: SITE_FACTOR,
    });
    std::iter::once(network).chain(site)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_count_by_network() {
        let same = |a: &str, b: &str| network_of(a.parse().unwrap()) == network_of(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    }

    #[test]
    fn a_site_is_neither_another_nor_one_of_its_networks() {
        let of = |address: &str| scopes_of(address.parse().unwrap()).collect::<Vec<_>>();
        let (one, two, other) = (
            of("2001:db8:1:0::1"),
            of("2001:db8:1:9::1"),
            of("2001:db8:2:0::1"),
        );
        assert_eq!((one[0].factor, one[1].factor), (1, SITE_FACTOR));
        assert!(one[0] != two[0] && one[1] == two[1] && one[1] != other[1]);
        assert_ne!(one[0].key, one[1].key);
        assert_eq!(of("192.0.2.1").len(), 1);
        assert_eq!(of("::ffff:192.0.2.1").len(), 1);
    }
}
