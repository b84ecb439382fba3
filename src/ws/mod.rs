//! The public port: sockets are accepted here, answered as HTTP, and some of them become WebSocket connections.
//!
//! - [`accept`]: the loop, and the requests of one connection. Below hyper, [`stream`] and [`head`] keep the
//!   head's time and refuse what two servers could read differently.
//! - [`upgrade`]: the handshake, and [`open`]: what follows it.
//! - [`connection`]: the task of one socket; [`reader`] and [`meter`] take its bytes apart, [`lanes`] keeps its
//!   commands in order, [`dispatch`] says what they mean, [`close`] ends it.
//! - [`request_id`]: what a request is called in its answer and in the log.
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
mod request_id;
mod stream;
mod tracker;
mod upgrade;

pub use accept::Server;
pub use stream::Socket;
