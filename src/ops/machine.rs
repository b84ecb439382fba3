//! This machine in its network.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// An address outside (TEST-NET-1, RFC 5737): the way there leads through the network that this machine is in.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address from which this machine would reach others. Nothing is sent: the system is asked for its route.
pub fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    Some(address).filter(|address| !address.is_loopback() && !address.is_unspecified())
}
