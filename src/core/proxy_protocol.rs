//! The PROXY protocol: what a proxy that does not read HTTP writes in front of a connection's bytes, so that we know whose
//! they are. Both versions, as <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt> has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What every header of version 2 begins with. Also how many bytes tell the versions apart: the shortest header of
/// version 1 has 15.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included.
pub const LINE_BYTES_MAX: usize = 107;
/// Bytes of version 2 before what its length counts.
pub const FIXED_BYTES: usize = 16;
/// What its length may count: the addresses, and more of additional fields than anybody sends.
pub const VARIABLE_BYTES_MAX: usize = 2048;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's at this address; an IPv4 address inside an IPv6 one is that address.
    Client(IpAddr),
    /// The proxy's own, such as a check of our health, or one whose client it cannot name: `LOCAL`, `UNKNOWN`, and
    /// addresses that are no internet addresses.
    Proxy,
}

/// Why a header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// Something else came.
    NoHeader,
    /// Neither version 1 nor 2.
    Version,
    /// More than [`VARIABLE_BYTES_MAX`].
    TooLong,
    Damaged,
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "no PROXY header",
            Self::Version => "a PROXY header of another version",
            Self::TooLong => "a PROXY header that is too long",
            Self::Damaged => "a damaged PROXY header",
        })
    }
}

/// What the first [`SIGNATURE`]'s length of bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line, to be read up to its end: [`line`].
    One,
    /// [`FIXED_BYTES`], then as many as [`variable_bytes`] says.
    Two,
}

/// Which version begins so.
///
/// # Errors
/// `NoHeader`.
pub fn version(first: [u8; SIGNATURE.len()]) -> Result<Version, HeaderError> {
    if first == SIGNATURE {
        Ok(Version::Two)
    } else if first.starts_with(b"PROXY ") {
        Ok(Version::One)
    } else {
        Err(HeaderError::NoHeader)
    }
}

/// Reads a whole line of version 1, its end included.
///
/// # Errors
/// `Damaged`.
pub fn line(line: &[u8]) -> Result<Origin, HeaderError> {
    let damaged = HeaderError::Damaged;
    let text = line
        .strip_suffix(b"\r\n")
        .filter(|_| line.len() <= LINE_BYTES_MAX);
    let text = std::str::from_utf8(text.ok_or(damaged)?).map_err(|_| damaged)?;
    let fields = text.strip_prefix("PROXY ").ok_or(damaged)?;
    // Whatever else stands there is to be passed over.
    if fields == "UNKNOWN" || fields.starts_with("UNKNOWN ") {
        return Ok(Origin::Proxy);
    }
    let mut fields = fields.split(' ');
    let mut next = || fields.next().ok_or(damaged);
    let (family, source, destination) = (next()?, next()?, next()?);
    let ports = [next()?, next()?];
    let is_port = |port: &str| {
        let canonical = port == "0" || !port.starts_with('0');
        canonical && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    if fields.next().is_some() || !ports.into_iter().all(is_port) {
        return Err(damaged);
    }
    let parse = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| damaged),
        "TCP6" => text.parse().map(IpAddr::V6).map_err(|_| damaged),
        _ => Err(damaged),
    };
    parse(destination)?;
    client(parse(source)?)
}

/// How many bytes follow the first of version 2.
///
/// # Errors
/// `Version`, `TooLong`, `Damaged`.
pub fn variable_bytes(fixed: [u8; FIXED_BYTES]) -> Result<usize, HeaderError> {
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        version_and_command,
        _,
        high,
        low,
    ] = fixed;
    if version_and_command >> 4 != 2 {
        return Err(HeaderError::Version);
    }
    if version_and_command & 0xf > 1 {
        return Err(HeaderError::Damaged);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > VARIABLE_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    Ok(length)
}

/// Reads a whole header of version 2, whose first bytes [`variable_bytes`] has found good. Additional fields are passed
/// over.
///
/// # Errors
/// `Damaged`.
pub fn binary(fixed: [u8; FIXED_BYTES], variable: &[u8]) -> Result<Origin, HeaderError> {
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        version_and_command,
        family,
        _,
        _,
    ] = fixed;
    if version_and_command & 0xf == 0 {
        return Ok(Origin::Proxy);
    }
    // The upper half names the addresses, the lower one what goes over them: 1 is a stream.
    match family {
        0x11 => {
            let addresses = variable.first_chunk::<12>().ok_or(HeaderError::Damaged)?;
            let [a, b, c, d, ..] = *addresses;
            client(Ipv4Addr::new(a, b, c, d).into())
        }
        0x21 => {
            let addresses = variable.first_chunk::<36>().ok_or(HeaderError::Damaged)?;
            let source = addresses.first_chunk::<16>().ok_or(HeaderError::Damaged)?;
            client(Ipv6Addr::from(*source).into())
        }
        // Unspecified, and Unix-domain sockets.
        0x00 | 0x31 => Ok(Origin::Proxy),
        _ => Err(HeaderError::Damaged),
    }
}

/// Nobody calls from nowhere.
fn client(address: IpAddr) -> Result<Origin, HeaderError> {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() {
        return Err(HeaderError::Damaged);
    }
    Ok(Origin::Client(address))
}

#[cfg(test)]
mod tests;
