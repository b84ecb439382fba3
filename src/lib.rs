//! Countersign: a realtime gateway. `ARCHITECTURE.md` in the repository is the map.

pub mod core;
