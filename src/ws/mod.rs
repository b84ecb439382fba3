//! WebSocket connections.

pub mod dispatch;
