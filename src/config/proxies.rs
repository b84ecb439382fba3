//! The proxies whose word on where a request comes from is taken.

use ipnet::IpNet;

use super::value::words;

/// Most entries of `trusted_proxies`: each request through a proxy is compared with all of them.
pub const TRUSTED_PROXIES_MAX: usize = 256;

/// The header in which the trusted proxies write down where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardingHeader {
    /// Whichever is there. When both are and do not name the same client the request is refused: a proxy that writes
    /// one passes the other on as the caller wrote it.
    #[default]
    Any,
    XForwardedFor,
    Forwarded,
}

words!(ForwardingHeader {
    "any" => ForwardingHeader::Any,
    "x_forwarded_for" => ForwardingHeader::XForwardedFor,
    "forwarded" => ForwardingHeader::Forwarded,
});

/// Reads an address, such as `192.0.2.7`, or a network, such as `10.1.0.0/16` or `2001:db8::/32`.
///
/// # Errors
/// A sentence that says what to write.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = || {
        text.parse()
            .ok()
            .map(|address: std::net::IpAddr| IpNet::from(address.to_canonical()))
    };
    let network: IpNet = text.parse().ok().or_else(address).ok_or_else(|| {
        format!(
            "trusted_proxies: {text:?} is no network: write 10.1.0.0/16, 2001:db8::/32 or a single address"
        )
    })?;
    if network.prefix_len() == 0 {
        return Err(format!(
            "trusted_proxies: {text} believes anybody about where they come from: name the proxies' own addresses"
        ));
    }
    if let Some(problem) = mapped(network) {
        return Err(problem);
    }
    Ok(network)
}

/// A network of IPv4 addresses written as IPv6 ones: peers are compared by their IPv4 addresses, so it would match nobody.
fn mapped(network: IpNet) -> Option<String> {
    let IpNet::V6(v6) = network else { return None };
    let inner = v6.addr().to_ipv4_mapped()?;
    let write = match v6.prefix_len().checked_sub(96) {
        None | Some(0) => "the proxies' own addresses".to_owned(),
        Some(prefix) => IpNet::new(inner.into(), prefix).ok()?.trunc().to_string(),
    };
    Some(format!(
        "trusted_proxies: {network} is a network of IPv4 addresses written as IPv6 ones, and matches nobody: write {write}"
    ))
}

/// What is wrong with a list, and with its use, one sentence each.
pub(super) fn problems(list: &[String], believes_nobody: bool) -> Vec<String> {
    let mut problems: Vec<String> = list.iter().filter_map(|text| network(text).err()).collect();
    if believes_nobody {
        problems.push(
            "proxy_protocol = true and nobody is believed: list the proxies that write the header in trusted_proxies".into(),
        );
    }
    if list.len() > TRUSTED_PROXIES_MAX {
        problems.push(format!(
            "trusted_proxies has {} entries: at most {TRUSTED_PROXIES_MAX}",
            list.len()
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read() {
        for (text, read) in [
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ] {
            assert_eq!(network(text).map(|n| n.to_string()), Ok(read.to_owned()));
        }
        for text in [
            "",
            "10.0.0.0/33",
            "proxy.example",
            "10.0.0.0/",
            "1.2.3",
            "10.0.0.1:80",
        ] {
            assert!(network(text).is_err_and(|e| e.contains("no network")), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0"] {
            assert!(network(text).is_err_and(|e| e.contains("anybody")), "{text}");
        }
        for (text, write) in [
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
            ("::ffff:192.0.2.7/128", "write 192.0.2.7/32"),
            ("::ffff:192.0.2.7/120", "write 192.0.2.0/24"),
            ("::ffff:0:0/96", "write the proxies' own addresses"),
            ("::ffff:10.0.0.0/90", "write the proxies' own addresses"),
        ] {
            assert!(network(text).is_err_and(|e| e.ends_with(write)), "{text}");
        }
    }

    #[test]
    fn the_list_is_bounded() {
        let list = vec!["10.0.0.1".to_owned(); TRUSTED_PROXIES_MAX];
        assert!(problems(&list, false).is_empty());
        assert_eq!(problems(&[list, vec!["x".to_owned()]].concat(), false).len(), 2);
        assert!(problems(&[], true)[0].contains("proxy_protocol"));
    }
}
