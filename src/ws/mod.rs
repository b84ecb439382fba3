//! The public port: sockets are accepted here, answered as HTTP, and some of them become WebSocket connections.
//!
//! - [`accept`]: the loop, and the requests of one connection. Below hyper, [`stream`] and [`head`] keep the
//!   head's time and refuse what two servers could read differently.
//! - [`tls`]: the TLS handshake, where a certificate is configured.
//! - [`upgrade`]: the handshake, and [`open`]: what follows it.
//! - [`connection`]: the task of one socket; [`reader`] and [`meter`] take its bytes apart, [`lanes`] keeps its
//!   commands in order, [`dispatch`] says what they mean, [`close`] ends it.
//! - [`drain`]: how all of them end.

mod accept;
mod close;
mod connection;
pub mod dispatch;
pub mod drain;
mod head;
mod lanes;
mod meter;
mod open;
mod reader;
mod stream;
mod tls;
mod tracker;
mod upgrade;

pub use accept::Server;
pub use stream::Socket;
