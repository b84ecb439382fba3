//! A Unix-domain socket beside the public port.

use std::path::{Path, PathBuf};

use super::settings::{settings, tables};

settings! {
    /// A Unix-domain socket on which the public port's requests are answered too, for a proxy on the same machine.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Unix {
        path: Option<PathBuf> = None, "", Form("at most 107 bytes"),
            "where a Unix-domain socket is made, on which requests are answered too. Whoever may connect is believed as a listed proxy is"
            like "\"/run/countersign/public.sock\"";
        mode: String = "660".into(), "", Form("three octal digits"),
            "who may connect, as the permissions of its file";
    }
}

tables!(Unix);

/// Longest path of a socket, bytes: what the system's address has room for.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Unix {
    /// The socket's path, where there is to be one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The permissions; those of the default where they cannot be read.
    pub fn permissions(&self) -> u32 {
        permissions(&self.mode).unwrap_or(0o660)
    }

    /// What is wrong with it, as sentences that say what to set.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if permissions(&self.mode).is_none() {
            problems.push(format!(
                "unix.mode = {:?} is no set of permissions: write three octal digits, such as \"660\"",
                self.mode
            ));
        }
        let too_long = |path: &&Path| path.as_os_str().len() > SOCKET_PATH_BYTES_MAX;
        if let Some(path) = self.path().filter(too_long) {
            problems.push(format!(
                "unix.path = {path:?} is longer than the {SOCKET_PATH_BYTES_MAX} bytes a socket's path may have: \
                 choose a shorter one, such as /run/countersign/public.sock"
            ));
        }
        problems
    }
}

fn permissions(mode: &str) -> Option<u32> {
    let digits = mode.len() == 3 && mode.bytes().all(|b| b.is_ascii_digit());
    u32::from_str_radix(mode, 8).ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_and_paths_are_checked() {
        let problems = |mode: &str, path: &str| {
            let unix = Unix {
                path: Some(path.into()),
                mode: mode.into(),
            };
            unix.problems().join("\n")
        };
        assert_eq!(problems("660", "/run/a.sock"), "");
        assert_eq!(Unix::default().permissions(), 0o660);
        for bad in ["", "66", "0660", "680", "rwx", "+66"] {
            assert!(problems(bad, "/run/a.sock").contains("octal"), "{bad}");
        }
        assert!(problems("600", &format!("/{}", "x".repeat(107))).contains("shorter"));
        assert_eq!(problems("600", &format!("/{}", "x".repeat(106))), "");
    }
}
