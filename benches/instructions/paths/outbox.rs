//! The queue of a member that does not read.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use countersign::core::outbox::{Batch, Class, Mark, Outbox};
use countersign_protocol::codec::json_frame;

use super::Path;
use crate::stage::room;

/// Bound of the queue, bytes: the default.
const BYTES_MAX: u32 = 256 * 1024;
/// Frames of one batch, and batches. Together they are twice what the queue holds, so it is thinned again and again.
const FRAMES: u64 = 8;
const BATCHES: u64 = 240;
/// What the wire takes at a time once it takes bytes again.
const WRITE_BYTES: usize = 16 * 1024;
/// Slices of one write, as in the hub.
const SLICES: usize = 16;

pub fn paths() -> Vec<Path> {
    vec![
        Path::new(
            "outbox/under_pressure",
            (FRAMES * BATCHES, "frame"),
            under_pressure,
        ),
        Path::new("outbox/queue_and_drain", (FRAMES * 60, "frame"), queue_and_drain),
    ]
}

/// Every eighth frame is low, one in each batch tells counts.
fn batches(n: u64) -> Vec<Arc<Batch>> {
    let frame = json_frame(&[b'x'; 273]);
    let batch = |at: u64| {
        let (mut bytes, mut marks) = (Vec::new(), Vec::new());
        for frame_at in 0..FRAMES {
            let (offset, class) = match frame_at {
                0 => (0, Class::Counts),
                1 => (at * FRAMES + frame_at, Class::Low),
                _ => (at * FRAMES + frame_at, Class::Normal),
            };
            bytes.extend_from_slice(&frame);
            let end = u32::try_from(bytes.len()).unwrap();
            marks.push(Mark { end, offset, class });
        }
        Arc::new(Batch::new(room(), Bytes::from(bytes), marks))
    };
    (0..n).map(batch).collect()
}

fn drain(outbox: &mut Outbox) {
    while !outbox.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let set = outbox.io_slices(&mut slices);
        let ready: usize = slices[..set].iter().map(|slice| slice.len()).sum();
        outbox.advance(ready.min(WRITE_BYTES));
    }
}

/// More is queued than there is room for, and then the wire takes what was kept.
fn under_pressure() -> impl FnMut() -> u64 {
    let batches = batches(BATCHES);
    move || {
        let mut outbox = Outbox::new(BYTES_MAX);
        let mut shed = 0;
        for batch in &batches {
            let these = outbox.push_batch(batch, 0, 0).unwrap();
            shed += these.low + these.normal;
        }
        assert!(shed > 0, "no pressure");
        drain(&mut outbox);
        batches.iter().map(|batch| batch.marks().len() as u64).sum()
    }
}

/// The queue is used and its bound is not reached.
fn queue_and_drain() -> impl FnMut() -> u64 {
    let batches = batches(60);
    move || {
        let mut outbox = Outbox::new(BYTES_MAX);
        for batch in &batches {
            let shed = outbox.push_batch(batch, 0, 0).unwrap();
            assert_eq!(shed.low + shed.normal, 0);
        }
        drain(&mut outbox);
        batches.iter().map(|batch| batch.marks().len() as u64).sum()
    }
}
