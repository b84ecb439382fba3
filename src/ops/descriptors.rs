//! How many sockets this process may hold.

/// What is assumed when the system does not say.
const UNKNOWN: usize = 1024;

/// The soft limit of open files.
pub fn limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    parse(&limits).unwrap_or(UNKNOWN)
}

/// There are not even enough for one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {limit} files and sockets open, and limits.descriptors_reserved = {reserved} of them are kept \
     back, so no client could connect: raise the limit with `ulimit -n {wanted}` before the start, or \
     LimitNOFILE={wanted} in its systemd unit"
)]
pub struct TooFew {
    pub limit: usize,
    pub reserved: usize,
    /// Files for as many sockets as are wanted and for those that are kept back.
    pub wanted: usize,
}

/// Sockets for clients under a limit of open files, of which some are kept back. With `connections_max` of them the
/// error says what the limit has to be.
///
/// # Errors
/// When there is none.
pub fn sockets(limit: usize, reserved: usize, connections_max: usize) -> Result<usize, TooFew> {
    match limit.saturating_sub(reserved) {
        0 => Err(TooFew {
            limit,
            reserved,
            wanted: connections_max.saturating_add(reserved),
        }),
        sockets => Ok(sockets),
    }
}

fn parse(limits: &str) -> Option<usize> {
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    match line.split_whitespace().nth(3)? {
        "unlimited" => Some(usize::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit   Soft Limit  Hard Limit  Units\nMax open files            20000                20000                files\n";
        assert_eq!(parse(text), Some(20_000));
        assert_eq!(
            parse("Max open files unlimited unlimited files"),
            Some(usize::MAX)
        );
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_limit_that_leaves_no_socket_is_told_with_what_to_do() {
        assert_eq!(sockets(1_024, 64, 65_536), Ok(960));
        assert_eq!(sockets(65, 64, 65_536), Ok(1));
        for limit in [0, 63, 64] {
            let told = sockets(limit, 64, 65_536).unwrap_err().to_string();
            assert!(
                told.contains("ulimit -n 65600") && told.contains("LimitNOFILE=65600"),
                "{told}"
            );
        }
    }
}
