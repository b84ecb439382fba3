//! Whether two addresses look like one network, which is shown to the phone and decides nothing.

use std::net::IpAddr;

/// Equal public IPv4, or equal public IPv6 /64. False for private, loopback, link-local, shared
/// (100.64/10), multicast and unspecified addresses, which say nothing about where somebody sits.
pub fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let [first, second, ..] = a.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            let own = a.is_private() || a.is_loopback() || a.is_link_local() || shared;
            a == b && !own && !a.is_unspecified() && !a.is_broadcast() && !a.is_multicast()
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let own = a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local();
            a.octets()[..8] == b.octets()[..8] && !own && !a.is_unspecified() && !a.is_multicast()
        }
        _ => false,
    }
}
