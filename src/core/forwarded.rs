//! Where a request comes from when proxies stand in between: what they wrote down, counted from the right, because
//! everything to the left of the last proxy one knows may be the caller's own invention.

use std::net::{IpAddr, SocketAddr};

/// Proxies one behind the other that are followed. More is nobody's set-up.
pub const HOPS_MAX: usize = 16;

/// One way in which proxies write down where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `X-Forwarded-For`: addresses separated by commas, a port allowed.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): elements separated by commas, of which `for=` is read.
    Forwarded,
}

/// The right-most address that is not a trusted proxy's. `lines` are the header's lines in the order they came.
///
/// `None` when there is none such, when what stands there before one is found is no address (also `unknown`, and the
/// names that RFC 7239 lets a proxy hide behind), and after [`HOPS_MAX`] proxies. What stands further left is not
/// read, so that nothing a caller writes there changes the answer.
pub fn client_address<'a>(
    notation: Notation,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let hops = lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops.take(HOPS_MAX) {
        let hop = hop.trim_ascii();
        let address = match notation {
            Notation::XForwardedFor => address(hop)?,
            Notation::Forwarded => address(for_of(hop)?)?,
        };
        if !trusted(address) {
            return Some(address);
        }
    }
    None
}

/// The value of `for=` in one element, without its quotes.
///
/// Elements are cut at every comma, also at one within a quotation, as a caller may have left open what its proxy then
/// adds to. So the last piece of a quotation that holds commas may read like an element: its quotes are odd in number.
/// An escaped one would hide that, and no address needs it.
fn for_of(element: &[u8]) -> Option<&[u8]> {
    let quotes = element.iter().filter(|byte| **byte == b'"').count();
    if quotes % 2 == 1 || element.contains(&b'\\') {
        return None;
    }
    let mut found = None;
    for pair in element.split(|byte| *byte == b';') {
        if pair.trim_ascii().is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at(equals);
        if !name.trim_ascii().eq_ignore_ascii_case(b"for") {
            continue;
        }
        let value = value.get(1..)?.trim_ascii();
        let bare = match value.strip_prefix(b"\"") {
            Some(rest) => rest.strip_suffix(b"\"")?,
            None => value,
        };
        // Twice is two answers.
        if found.replace(bare).is_some() {
            return None;
        }
    }
    found
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. An IPv4 address inside an IPv6
/// one is that address.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse()
            .ok()
            .map(IpAddr::V6)
    };
    let with_port = || text.parse::<SocketAddr>().ok().map(|at| at.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests;
