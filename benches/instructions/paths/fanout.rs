//! From a frame in the room to the wires of its members.

use countersign::core::outbox::Class;
use countersign::hub::Hub;
use countersign_protocol::codec::json_frame;
use tokio::runtime::Runtime;

use super::Path;
use crate::stage::{fill, room, runtime, served, settle};

/// Bytes of a frame, as in the measurements of time: 128 bytes of body and what is around them.
const FRAME_BYTES: usize = 277;

pub fn paths() -> Vec<Path> {
    vec![
        Path::new("fanout/1_to_1", (1, "message"), || fan_out(1, 1)),
        Path::new("fanout/1_to_10", (10, "delivery"), || fan_out(10, 1)),
        Path::new("fanout/1_to_1000", (1_000, "delivery"), || fan_out(1_000, 1)),
        Path::new("fanout/32_to_1000", (32_000, "delivery"), || fan_out(1_000, 32)),
    ]
}

fn fan_out(members: u64, messages: u64) -> impl FnMut() -> u64 {
    let (hub, runtime) = (Hub::default(), runtime());
    let wires = fill(&hub, &room(), members, 0);
    let frame = json_frame(&[b'x'; FRAME_BYTES - 4]);
    let (mut offset, mut before) = (0, 0);
    served(&wires, &mut before);
    move || {
        publish(&hub, &runtime, &frame, offset, messages);
        offset += messages;
        // However many messages, each wire takes them in one write.
        served(&wires, &mut before) * messages
    }
}

fn publish(hub: &Hub, runtime: &Runtime, frame: &[u8], after: u64, messages: u64) {
    runtime.block_on(async {
        for offset in after + 1..=after + messages {
            hub.publish_message(&room(), || frame.to_vec(), offset, Class::Normal);
        }
    });
    settle(runtime);
}
