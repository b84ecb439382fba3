use proptest::prelude::*;

use super::*;

fn fixed(command: u8, family: u8, length: u16) -> [u8; FIXED_BYTES] {
    let mut fixed = [0; FIXED_BYTES];
    fixed[..12].copy_from_slice(&SIGNATURE);
    fixed[12] = command;
    fixed[13] = family;
    fixed[14..].copy_from_slice(&length.to_be_bytes());
    fixed
}

fn at(text: &str) -> Result<Origin, HeaderError> {
    Ok(Origin::Client(text.parse().unwrap()))
}

#[test]
fn lines_are_read() {
    for (text, origin) in [
        ("TCP4 203.0.113.9 192.0.2.1 56324 443", at("203.0.113.9")),
        ("TCP4 203.0.113.9 192.0.2.1 0 65535", at("203.0.113.9")),
        ("TCP6 2001:db8::9 2001:db8::1 1 2", at("2001:db8::9")),
        ("TCP6 ::ffff:203.0.113.9 ::1 1 2", at("203.0.113.9")),
        ("UNKNOWN", Ok(Origin::Proxy)),
        ("UNKNOWN ff:ff whatever 65535", Ok(Origin::Proxy)),
    ] {
        assert_eq!(line(format!("PROXY {text}\r\n").as_bytes()), origin, "{text}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 16));
    assert_eq!(
        (long.len(), line(long.as_bytes())),
        (LINE_BYTES_MAX, Ok(Origin::Proxy))
    );
    assert_eq!(
        line(format!("{}x\r\n", &long[..LINE_BYTES_MAX - 2]).as_bytes()),
        Err(HeaderError::Damaged)
    );
    for text in [
        "",
        "UNKNOWNX",
        "TCP4",
        "TCP4 203.0.113.9 192.0.2.1 1",
        "TCP4 203.0.113.9 192.0.2.1 1 2 3",
        "TCP4  203.0.113.9 192.0.2.1 1 2",
        "TCP4 203.0.113.9 192.0.2.1 1 65536",
        "TCP4 203.0.113.9 192.0.2.1 01 2",
        "TCP4 203.0.113.9 192.0.2.1 +1 2",
        "TCP4 203.0.113.9 192.0.2.1 1 2 ",
        "TCP4 203.0.113.009 192.0.2.1 1 2",
        "TCP4 2001:db8::9 192.0.2.1 1 2",
        "TCP4 203.0.113.9 name 1 2",
        "TCP4 0.0.0.0 192.0.2.1 1 2",
        "TCP6 203.0.113.9 2001:db8::1 1 2",
        "TCP6 ff02::1 2001:db8::1 1 2",
        "tcp4 203.0.113.9 192.0.2.1 1 2",
        "UDP4 203.0.113.9 192.0.2.1 1 2",
    ] {
        assert_eq!(
            line(format!("PROXY {text}\r\n").as_bytes()),
            Err(HeaderError::Damaged),
            "{text}"
        );
    }
    for text in [
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN",
        "PROXY\r\n",
        "GET / HTTP/1.1\r\n",
        "PROXY \u{e9}\r\n",
    ] {
        assert_eq!(line(text.as_bytes()), Err(HeaderError::Damaged), "{text}");
    }
}

#[test]
fn binary_headers_are_read() {
    let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 0xdc, 0x04, 1, 187];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    v6[15] = 9;
    // An additional field: NOOP with one byte.
    let more: Vec<u8> = v4.iter().copied().chain([4, 0, 1, 0]).collect();
    for (command, family, variable, origin) in [
        (0x21, 0x11, &v4[..], at("203.0.113.9")),
        (0x21, 0x11, &more, at("203.0.113.9")),
        (0x21, 0x21, &v6, at("2001:db8::9")),
        (0x21, 0x00, &[], Ok(Origin::Proxy)),
        (0x21, 0x31, &[0; 216], Ok(Origin::Proxy)),
        (0x20, 0x00, &[], Ok(Origin::Proxy)),
        (0x20, 0x11, &v4, Ok(Origin::Proxy)),
        (0x21, 0x11, &v4[..11], Err(HeaderError::Damaged)),
        (0x21, 0x21, &v6[..35], Err(HeaderError::Damaged)),
        (0x21, 0x11, &[0; 12], Err(HeaderError::Damaged)),
        (0x21, 0x12, &v4, Err(HeaderError::Damaged)),
        (0x21, 0x99, &v4, Err(HeaderError::Damaged)),
    ] {
        let fixed = fixed(command, family, u16::try_from(variable.len()).unwrap());
        assert_eq!(variable_bytes(fixed), Ok(variable.len()));
        assert_eq!(binary(fixed, variable), origin, "{command:x} {family:x}");
    }
    for (command, length, refused) in [
        (0x11, 0, HeaderError::Version),
        (0x31, 0, HeaderError::Version),
        (0x22, 0, HeaderError::Damaged),
        (0x21, 2049, HeaderError::TooLong),
        (0x21, u16::MAX, HeaderError::TooLong),
    ] {
        assert_eq!(variable_bytes(fixed(command, 0x11, length)), Err(refused));
    }
}

#[test]
fn versions_are_told_apart() {
    assert_eq!(version(SIGNATURE), Ok(Version::Two));
    assert_eq!(version(*b"PROXY TCP4 1"), Ok(Version::One));
    for other in [
        b"GET / HTTP/1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0",
        b"PROXYXTCP4 1",
    ] {
        assert_eq!(version(*other), Err(HeaderError::NoHeader));
    }
}

proptest! {
    #[test]
    fn what_a_proxy_writes_is_read(address: u32, port: u16, v6: u128) {
        let v4 = Ipv4Addr::from(address);
        prop_assume!(!v4.is_unspecified() && !v4.is_multicast());
        let origin = Ok(Origin::Client(v4.into()));
        prop_assert_eq!(line(format!("PROXY TCP4 {v4} 192.0.2.1 {port} 443\r\n").as_bytes()), origin);
        let mut variable = v4.octets().to_vec();
        variable.extend([192, 0, 2, 1, 0, 1, 1, 187]);
        prop_assert_eq!(binary(fixed(0x21, 0x11, 12), &variable), origin);

        let v6 = Ipv6Addr::from(v6);
        let shown = IpAddr::from(v6).to_canonical();
        prop_assume!(!shown.is_unspecified() && !shown.is_multicast());
        let origin = Ok(Origin::Client(shown));
        prop_assert_eq!(line(format!("PROXY TCP6 {v6} ::1 {port} 443\r\n").as_bytes()), origin);
    }

    #[test]
    fn anything_is_read_without_a_panic(bytes: Vec<u8>, head: [u8; FIXED_BYTES], command: u8, family: u8) {
        let _ = line(&bytes);
        let _ = line(&[b"PROXY ", &bytes[..], b"\r\n"].concat());
        let _ = variable_bytes(head);
        let _ = binary(head, &bytes);
        let _ = binary(fixed(command, family, 0), &bytes);
    }
}
