//! Opening sockets from a chosen source address.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// Whether calls on a socket wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Blocking,
    NonBlocking,
}

/// How what arrives is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    /// As the kernel does by default: on loopback nearly every read sends an acknowledgement, which
    /// costs the reader as much as the read.
    Prompt,
    /// Every second segment. A third less work for the reader, so that it can keep up with a burst; in
    /// paced runs it would load the server with timers.
    Delayed,
}

/// Applies `acks` to a socket.
pub fn acknowledge(fd: &OwnedFd, acks: Acks) -> Result<(), Errno> {
    match acks {
        Acks::Prompt => Ok(()),
        Acks::Delayed => sockopt::set_tcp_quickack(fd, false),
    }
}

/// Starts a TCP connection to `to` from `source`. In [`Mode::NonBlocking`] it is still under way on
/// return; writability tells the end and [`outcome`] how it ended.
pub fn open(to: SocketAddr, source: Option<Ipv4Addr>, mode: Mode) -> Result<OwnedFd, Errno> {
    open_narrow(to, source, mode, None)
}

/// The same with a receive buffer of about `buffer` bytes, which has to be said before the connection
/// exists: that much the other side may send unread. `None`: the kernel's own, which grows.
pub fn open_narrow(
    to: SocketAddr,
    source: Option<Ipv4Addr>,
    mode: Mode,
    buffer: Option<usize>,
) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let mut flags = SocketFlags::CLOEXEC;
    if mode == Mode::NonBlocking {
        flags |= SocketFlags::NONBLOCK;
    }
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    if let Some(bytes) = buffer {
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
    }
    if let Some(source) = source {
        // Ports of connections that just ended may be taken again.
        sockopt::set_socket_reuseaddr(&fd, true)?;
        bind(&fd, &SocketAddrV4::new(source, 0))?;
    }
    match connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(e) => Err(e),
    }
}

/// How a connect that was under way ended.
pub fn outcome(fd: &OwnedFd) -> Result<(), Errno> {
    sockopt::socket_error(fd)?
}
