//! The public port: sockets are accepted here, answered as HTTP, and some of them become WebSocket connections.
//!
//! - [`accept`]: the loop, and the requests of one connection. Below hyper, [`stream`] and [`head`] keep the
//!   head's time and refuse what two servers could read differently.
//! - [`admit`]: a place, and what comes before the first request.
//! - [`proxy_header`]: what a proxy writes in front of a connection, where that is configured.
//! - [`tls`]: the TLS handshake, where a certificate is configured.
//! - [`upgrade`]: the handshake, and [`open`]: what follows it.
//! - [`connection`]: the task of one socket; [`reader`] and [`meter`] take its bytes apart, [`lanes`] keeps its
//!   commands in order, [`dispatch`] says what they mean, [`close`] ends it.
//! - [`request_id`]: what a request is called in its answer and in the log.
//! - [`drain`]: how all of them end.

mod accept;
mod admit;
mod close;
mod connection;
pub mod dispatch;
pub mod drain;
mod head;
mod lanes;
mod meter;
mod open;
mod proxy_header;
mod reader;
mod request_id;
mod stream;
mod tls;
mod tracker;
mod upgrade;

pub use accept::Server;
pub use stream::Socket;
