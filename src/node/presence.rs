//! What ends with a connection, however it ends.

use std::sync::Arc;

use super::{Admission, Node};
use crate::hub::Connection;

/// A connection's part in the hub and the engine, which ends with this value.
pub struct Presence {
    pub node: Arc<Node>,
    pub connection: Arc<Connection>,
    /// Kept until the engine knows that the connection is gone.
    pub place: Option<Arc<Admission>>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.node.depart(&self.connection, self.place.take());
    }
}
