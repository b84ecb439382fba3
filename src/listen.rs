//! Taking the addresses that are served.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Connections waiting to be accepted. The system has its own bound, `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Takes a TCP address, also one on which connections of a process before are still ending.
///
/// # Errors
/// The system's.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A Unix-domain socket that listens; its file goes with this value.
#[derive(Debug)]
pub struct Local {
    listener: Option<UnixListener>,
    file: SocketFile,
}

/// The file of a socket that was made here.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number: another process may have put its own there since.
    identity: (u64, u64),
}

impl Local {
    /// Takes a path. What a process left there that has ended is removed; nobody connects before the file has its
    /// permissions.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn bind(path: &Path, permissions: u32) -> Result<Self, String> {
        let told = |e: io::Error| {
            format!(
                "unix.path = {path:?} cannot be bound: {e}; its folder has to be there, and this user has to be able to \
                 write to it"
            )
        };
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(told)?;
        let bind = || {
            socket.set_nonblocking(true)?;
            socket.bind(&SockAddr::unix(path)?)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(permissions))?;
            let made = std::fs::symlink_metadata(path)?;
            socket.listen(BACKLOG)?;
            Ok((made.dev(), made.ino()))
        };
        let identity = bind().map_err(told)?;
        let listener = UnixListener::from_std(socket.into()).map_err(told)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity,
        };
        Ok(Self {
            listener: Some(listener),
            file,
        })
    }

    /// The listener, and the file, which goes when it is dropped.
    pub fn into_parts(self) -> (Option<UnixListener>, SocketFile) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = std::fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == self.identity) {
            // Who ends cannot do more about it than the next start, which removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> Result<(), String> {
    let Ok(there) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !there.file_type().is_socket() {
        return Err(format!(
            "unix.path = {path:?} is there already and is no socket: choose another path, or remove what is there"
        ));
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(|e| {
            format!("unix.path = {path:?} was left by a process that has ended, and cannot be removed: {e}; remove it")
        }),
        _ => Err(format!(
            "unix.path = {path:?} is in use by another process: stop it, or choose another path"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_is_taken_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let (listener, file) = Local::bind(&path, 0o600).unwrap().into_parts();
        let made = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!(
            (made.file_type().is_socket(), made.permissions().mode() & 0o777),
            (true, 0o600)
        );
        assert!(Local::bind(&path, 0o600).unwrap_err().contains("in use"));
        assert!(path.exists(), "who is refused removes nothing");
        // Another name keeps its number from being given to the next one.
        std::fs::hard_link(&path, folder.path().join("b.sock")).unwrap();
        drop(listener);
        // Nobody listens, as after a crash: the next one takes it, and the former one does not take it away.
        let next = Local::bind(&path, 0o660).unwrap();
        drop(file);
        assert!(path.exists());
        drop(next);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(Local::bind(&path, 0o600).unwrap_err().contains("is no socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        let nowhere = folder.path().join("missing/a.sock");
        assert!(Local::bind(&nowhere, 0o600).unwrap_err().contains("folder"));
    }
}
