//! Histories: what clients did and were told, as JSON lines, and the program that decides whether the
//! promises of the gateway held in them. `docs/history.md` is the format.
//!
//! [`record`] writes, from the frames themselves, [`tap`] all of an engine's; [`read`] reads; [`check`] decides, without I/O.

pub mod calls;
pub mod check;
pub mod command;
pub mod line;
pub mod read;
pub mod record;
pub mod tap;
mod wire;

/// Version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Longest line, bytes, its end included: a reply to `join` with 100 messages needs less than half.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Most lines of all files together.
pub const LINES_MAX: u64 = 100_000_000;
/// Most records a check keeps: one for each command, message, answer to join and stay at a quiet point.
/// 350,000 sends with 190,000 messages took 150 MiB, which makes about 3 GiB at the bound.
pub const RECORDS_MAX: usize = 10_000_000;
/// Most files of one check.
pub const FILES_MAX: usize = 1_000;
/// How the recorder here digests bodies; files whose digests were made otherwise do not go together.
pub const DIGEST: &str = "sha1-64";
