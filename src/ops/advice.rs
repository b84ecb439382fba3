//! What to do about what the system refuses at the start.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::path::Path;

/// About an address that cannot be listened on.
pub fn on_binding(address: SocketAddr, error: &Error) -> String {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another process listens there (`ss -ltnp 'sport = :{port}'` names it): stop it, or choose another port; \
             port 0 lets the system pick"
        ),
        ErrorKind::PermissionDenied => format!(
            "ports below 1024 take a right that this user has not: listen on a higher one behind a proxy, or start it \
             with the capability CAP_NET_BIND_SERVICE (AmbientCapabilities= in its systemd unit), not as root; \
             port = {port}"
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address (`ip -brief address` lists them): 127.0.0.1 is this machine alone, \
             0.0.0.0 all its IPv4 addresses, [::] all there are"
                .to_owned()
        }
        _ => "choose another address".to_owned(),
    }
}

/// About a file that cannot be read.
pub fn on_reading(path: &Path, error: &Error) -> String {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound if path.is_relative() => format!(
            "there is no such file; {shown} is looked for in the folder the program was started in: write the whole path"
        ),
        ErrorKind::NotFound => "there is no such file: correct the path, or put the file there".to_owned(),
        ErrorKind::PermissionDenied => format!(
            "the user that runs this may not read it: let it (`chgrp countersign {shown}; chmod 640 {shown}`), with \
             the folders above it"
        ),
        ErrorKind::IsADirectory => "that is a folder: name a file".to_owned(),
        _ => "name a file that can be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        for (kind, says) in [
            (ErrorKind::AddrInUse, "sport = :443"),
            (ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (ErrorKind::AddrNotAvailable, "ip -brief address"),
            (ErrorKind::Other, "another address"),
        ] {
            let told = on_binding(address, &Error::from(kind));
            assert!(told.contains(says), "{told}");
        }
        for (path, kind, says) in [
            ("key.pem", ErrorKind::NotFound, "the whole path"),
            ("/etc/key.pem", ErrorKind::NotFound, "correct the path"),
            (
                "/etc/key.pem",
                ErrorKind::PermissionDenied,
                "chmod 640 /etc/key.pem",
            ),
            ("/etc", ErrorKind::IsADirectory, "name a file"),
            ("/etc", ErrorKind::Other, "name a file"),
        ] {
            let told = on_reading(Path::new(path), &Error::from(kind));
            assert!(told.contains(says), "{told}");
        }
    }
}
