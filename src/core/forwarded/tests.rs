use proptest::prelude::*;

use super::*;

/// 10.0.0.0/8 and ::1 are proxies.
fn trusted(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
        || address == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
}

fn read(notation: Notation, lines: &[&[u8]]) -> Option<String> {
    client_address(notation, lines.iter().copied(), trusted).map(|address| address.to_string())
}

fn x(lines: &[&str]) -> Option<String> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    read(Notation::XForwardedFor, &lines)
}

fn f(line: &str) -> Option<String> {
    read(Notation::Forwarded, &[line.as_bytes()])
}

#[test]
fn the_right_most_stranger_is_the_client() {
    for (lines, client) in [
        (&["203.0.113.9"][..], Some("203.0.113.9")),
        (&["198.51.100.1, 203.0.113.9"], Some("203.0.113.9")),
        (&["198.51.100.1, 203.0.113.9, 10.0.0.7"], Some("203.0.113.9")),
        (
            &["198.51.100.1", "203.0.113.9", "10.0.0.7,10.9.9.9"],
            Some("203.0.113.9"),
        ),
        (&["203.0.113.9:4711"], Some("203.0.113.9")),
        (&["2001:db8::1"], Some("2001:db8::1")),
        (&["[2001:db8::1]"], Some("2001:db8::1")),
        (&["[2001:db8::1]:80"], Some("2001:db8::1")),
        (&["::ffff:203.0.113.9"], Some("203.0.113.9")),
        (&["203.0.113.9, ::ffff:10.0.0.7"], Some("203.0.113.9")),
        (&["\u{fc}, \"for=, 203.0.113.9"], Some("203.0.113.9")),
        // Nobody but proxies, or nothing.
        (&["10.0.0.7"], None),
        (&["10.0.0.8, 10.0.0.7"], None),
        (&[""], None),
        (&[], None),
        // What is no address ends the search.
        (&["203.0.113.9, unknown"], None),
        (&["203.0.113.9, unknown, 10.0.0.7"], None),
        (&["203.0.113.9,"], None),
        (&["203.0.113.9", ""], None),
        (&["203.0.113.9,,10.0.0.7"], None),
        (&["203.0.113.9.1"], None),
        (&["203.0.113.9 10.0.0.7"], None),
        (&["203.0.113.9:99999"], None),
        (&["[203.0.113.9]"], None),
        (&["fe80::1%eth0"], None),
        (&["0.0.0.0"], None),
        (&["for=203.0.113.9"], None),
    ] {
        assert_eq!(x(lines).as_deref(), client, "{lines:?}");
    }
}

#[test]
fn an_element_says_for_whom() {
    for (line, client) in [
        ("for=203.0.113.9", Some("203.0.113.9")),
        (
            "For=\"203.0.113.9:80\"; proto=https;by=10.0.0.1",
            Some("203.0.113.9"),
        ),
        (
            "for=198.51.100.1, for=203.0.113.9;proto=http",
            Some("203.0.113.9"),
        ),
        (
            "for=\"[2001:db8::1]:4711\", by=x;for=10.0.0.2",
            Some("2001:db8::1"),
        ),
        ("for=203.0.113.9; ;", Some("203.0.113.9")),
        // A quotation that its writer left open swallows nothing that was added behind it.
        ("for=\"198.51.100.1, for=203.0.113.9", Some("203.0.113.9")),
        ("for=198.51.100.1;host=\"a, for=203.0.113.9", Some("203.0.113.9")),
        // A comma within the proxy's own quotation begins no element.
        ("for=9.9.9.9;host=\"a,for=1.2.3.4;x=\"", None),
        ("for=9.9.9.9;host=\"a,for=1.2.3.4;x=\\\"\"", None),
        ("for=9.9.9.9;host=\"a,for=1.2.3.4;x=\", for=10.0.0.1", None),
        ("for=9.9.9.9;host=\"a,for=1.2.3.4;x=\";y=\"b,c\"", None),
        ("for=203.0.113.9;host=\"a.example:80\"", Some("203.0.113.9")),
        ("for=203.0.113.9;host=\"a.example", None),
        ("for=_hidden", None),
        ("for=unknown", None),
        ("for=203.0.113.9, for=unknown", None),
        ("proto=https", None),
        ("for=203.0.113.9, proto=https", None),
        ("for=203.0.113.9;for=198.51.100.1", None),
        ("for=\"203.0.113.9", None),
        ("for=203.0.113.9;;proto", None),
        ("203.0.113.9", None),
        ("", None),
    ] {
        assert_eq!(f(line).as_deref(), client, "{line:?}");
    }
}

#[test]
fn the_search_has_an_end() {
    let chain = |proxies: usize| format!("203.0.113.9{}", ", 10.0.0.1".repeat(proxies));
    assert!(x(&[&chain(HOPS_MAX - 1)]).is_some());
    assert_eq!(x(&[&chain(HOPS_MAX)]), None);
    assert_eq!(x(&[&chain(100_000)]), None);
}

proptest! {
    /// Whatever a caller puts in front of what the proxy adds, in the same line or in lines before it, the answer is
    /// the proxy's; and nothing panics.
    #[test]
    fn what_a_caller_writes_changes_nothing(
        forged in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4),
        same_line in any::<bool>(),
        proxies in 0..HOPS_MAX - 1,
    ) {
        for (notation, prefix) in [(Notation::XForwardedFor, ""), (Notation::Forwarded, "for=")] {
            let honest = format!("{prefix}203.0.113.9{}", format!(", {prefix}10.0.0.1").repeat(proxies));
            let mut lines = forged.clone();
            match lines.last_mut() {
                Some(last) if same_line => last.extend(format!(", {honest}").bytes()),
                _ => lines.push(honest.into_bytes()),
            }
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            let client = read(notation, &lines);
            prop_assert_eq!(client.as_deref(), Some("203.0.113.9"));
        }
    }

    /// Any bytes at all: an address that is no proxy's, or none.
    #[test]
    fn any_bytes_are_an_address_or_none(
        lines in proptest::collection::vec("([0-9a-f.:,;=\"\\[\\] ]|for|10\\.0\\.0\\.1|::1|\\PC){0,60}", 0..5),
    ) {
        for notation in [Notation::XForwardedFor, Notation::Forwarded] {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let found = client_address(notation, lines.into_iter(), trusted);
            prop_assert!(found.is_none_or(|address| !trusted(address)));
        }
    }
}
