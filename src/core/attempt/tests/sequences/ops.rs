//! What may happen, drawn at random.

use proptest::prelude::*;

/// One thing to do; the bytes choose among the right and the wrong arguments.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Wait(u64),
    Tick,
    TickWhenDue,
    Watch(u8),
    Unwatch(u8),
    Poll(bool),
    Scan {
        which: u8,
        phone: usize,
    },
    Answer {
        code: u8,
        right_claim: bool,
    },
    Confirm {
        which: u8,
        phone: usize,
        token: u8,
        code: u8,
    },
    Deny {
        which: u8,
        phone: usize,
        token: u8,
    },
    Ask {
        which: u8,
        phone: usize,
    },
    Cancel(bool),
    Redeem {
        right_ticket: bool,
        right_claim: bool,
    },
    /// A phone types the user code.
    Type {
        right: bool,
        phone: usize,
    },
    Exchange {
        right_client: bool,
        right_claim: bool,
    },
    Revoked(bool),
    Locked(bool),
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    // Mostly Alice, the newest id, the newest token and the right code, so that sequences get somewhere.
    let phone = || prop_oneof![4 => Just(0usize), 1 => 1..4usize];
    let low = || prop_oneof![4 => Just(0u8), 1 => 1..6u8];
    let mostly = || prop::bool::weighted(0.85);
    let span = prop_oneof![4 => 0..5_000u64, 2 => 5_000..50_000u64, 1 => 50_000..130_000u64];
    prop_oneof![
        4 => span.prop_map(Op::Wait),
        1 => Just(Op::Tick),
        3 => Just(Op::TickWhenDue),
        1 => (0..3u8).prop_map(Op::Watch),
        1 => (0..3u8).prop_map(Op::Unwatch),
        1 => mostly().prop_map(Op::Poll),
        5 => (low(), phone()).prop_map(|(which, phone)| Op::Scan { which, phone }),
        3 => (low(), mostly()).prop_map(|(code, right_claim)| Op::Answer { code, right_claim }),
        5 => (low(), phone(), low(), low())
            .prop_map(|(which, phone, token, code)| Op::Confirm { which, phone, token, code }),
        1 => (low(), phone(), low()).prop_map(|(which, phone, token)| Op::Deny { which, phone, token }),
        1 => (low(), phone()).prop_map(|(which, phone)| Op::Ask { which, phone }),
        1 => prop::bool::weighted(0.3).prop_map(Op::Cancel),
        4 => (mostly(), mostly())
            .prop_map(|(right_ticket, right_claim)| Op::Redeem { right_ticket, right_claim }),
        1 => (mostly(), phone()).prop_map(|(right, phone)| Op::Type { right, phone }),
        2 => (mostly(), mostly())
            .prop_map(|(right_client, right_claim)| Op::Exchange { right_client, right_claim }),
        1 => prop::bool::weighted(0.2).prop_map(Op::Revoked),
        1 => prop::bool::weighted(0.2).prop_map(Op::Locked),
    ]
}
