//! Each rule once, by example.

use super::*;

fn kinds(rig: &Rig) -> Vec<String> {
    rig.queued()
        .iter()
        .map(|s| match s.kind() {
            "gap" => format!("gap {}-{}", s.value["from"], s.value["to"]),
            kind if is_message(s.class) && s.n != 0 => format!("{kind} {}", s.value["offset"]),
            "presence" if s.n == 0 => "reset".to_owned(),
            kind => kind.to_owned(),
        })
        .collect()
}

fn push(rig: &mut Rig, room_index: usize, frames: &[(Class, usize)]) -> Result<Shed, Overflow> {
    let batch = rig.source.batch(&room(room_index), frames);
    rig.outbox.push_batch(&batch, 0, 0)
}

#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<Outbox>() <= 64, "{}", size_of::<Outbox>());
    assert!(size_of::<Chunk>() <= 40, "{}", size_of::<Chunk>());
    assert_eq!(Outbox::new(1).queue.capacity(), 0);
}

#[test]
fn low_goes_first_and_runs_grow_together() {
    use Class::{High, Low, Normal};
    let mut rig = Rig::new(1_200);
    let sent = [
        (High, 0),
        (Low, 200),
        (Normal, 0),
        (Low, 200),
        (High, 0),
        (Normal, 0),
    ];
    push(&mut rig, 0, &sent).unwrap();
    let shed = push(&mut rig, 0, &[(Normal, 50), (Low, 200)]).unwrap();
    assert_eq!((shed.low, shed.normal), (3, 0));
    let expected = [
        "high 1", "gap 2-2", "normal 3", "gap 4-4", "high 5", "normal 6", "normal 7", "gap 8-8",
    ];
    assert_eq!(kinds(&rig), expected);
    // The normal message between two gaps goes: the three become one, where the first stood.
    let shed = push(&mut rig, 0, &[(High, 450)]).unwrap();
    assert_eq!((shed.low, shed.normal), (0, 3));
    assert_eq!(kinds(&rig), ["high 1", "gap 2-4", "high 5", "gap 6-8", "high 9"]);
}

#[test]
fn a_gap_that_has_begun_is_left_alone() {
    let mut rig = Rig::new(700);
    push(&mut rig, 0, &[(Class::Normal, 0); 4]).unwrap();
    push(&mut rig, 0, &[(Class::Normal, 200)]).unwrap();
    assert_eq!(kinds(&rig)[0], "gap 1-3");
    rig.leave(1, 3);
    push(&mut rig, 0, &[(Class::Normal, 200)]).unwrap();
    assert_eq!(kinds(&rig), ["gap 1-3", "gap 4-5", "normal 6"]);
}

#[test]
fn no_gap_reaches_across_a_join() {
    let mut rig = Rig::new(700);
    push(&mut rig, 0, &[(Class::Normal, 60); 2]).unwrap();
    rig.outbox
        .push_join(
            &room(0),
            json_frame(br#"{"type":"joined","room":"chat:a"}"#).into(),
        )
        .unwrap();
    push(&mut rig, 0, &[(Class::Normal, 60), (Class::Normal, 200)]).unwrap();
    assert_eq!(kinds(&rig), ["gap 1-2", "joined", "gap 3-3", "normal 4"]);
}

#[test]
fn counts_have_one_slot_and_infos_another() {
    use Class::{Counts, Normal, Presence, Room};
    let mut rig = Rig::new(100_000);
    push(&mut rig, 0, &[(Normal, 0), (Counts, 0), (Normal, 0), (Room, 0)]).unwrap();
    push(&mut rig, 1, &[(Counts, 0)]).unwrap();
    let shed = push(&mut rig, 0, &[(Counts, 0), (Presence, 0), (Counts, 0)]).unwrap();
    assert_eq!(shed.replaced, 2);
    assert_eq!(
        kinds(&rig),
        ["normal 1", "normal 2", "info", "counts", "presence", "counts"]
    );
    rig.leave(9, 300);
    push(&mut rig, 0, &[(Room, 0)]).unwrap();
    assert_eq!(
        kinds(&rig),
        ["info", "counts", "presence", "counts", "info"],
        "a begun one leaves whole"
    );
}

#[test]
fn what_may_not_be_dropped_overflows_and_seals() {
    let mut rig = Rig::new(1_000);
    push(&mut rig, 0, &[(Class::High, 100), (Class::High, 100)]).unwrap();
    rig.leave(1, 10);
    assert_eq!(push(&mut rig, 0, &[(Class::High, 900)]), Err(Overflow));
    assert_eq!(rig.outbox.push(Bytes::from_static(b"x")), Err(Overflow), "sealed");
    rig.outbox
        .close(json_frame(br#"{"type":"close"}"#).into(), Ending::AtOnce);
    assert_eq!(
        kinds(&rig),
        ["high 1", "close"],
        "the begun frame is finished first"
    );
    rig.leave(10, 10_000);
    assert_eq!(parse(&rig.wire).len(), 2);

    let mut rig = Rig::new(1_000);
    push(&mut rig, 0, &[(Class::Normal, 0)]).unwrap();
    rig.outbox
        .close(json_frame(br#"{"type":"close"}"#).into(), Ending::AfterQueue);
    assert_eq!(
        push(&mut rig, 0, &[(Class::Normal, 0)]),
        Err(Overflow),
        "nothing follows a close"
    );
    assert_eq!(kinds(&rig), ["normal 1", "close"]);

    let mut rig = Rig::new(1_000);
    let batch = rig.source.batch(&room(0), &[(Class::Normal, 0)]);
    rig.outbox.push(Bytes::from_static(b"x")).unwrap();
    assert_eq!(
        rig.outbox.push_batch(&batch, 0, 3),
        Err(Overflow),
        "sent past a queue"
    );
}

#[test]
fn a_live_stream_starts_behind_its_reply() {
    use Class::{Counts, Normal, Presence};
    let mut source = Source::default();
    let batch = source.batch(
        &room(0),
        &[(Counts, 0), (Normal, 0), (Presence, 0), (Normal, 0), (Counts, 0)],
    );
    assert_eq!([0, 1, 2, 9].map(|offset| batch.first_after(offset)), [0, 2, 4, 4]);
    let quiet = source.batch(&room(0), &[(Counts, 0)]);
    assert_eq!(
        [0, 9, u64::MAX].map(|offset| quiet.first_after(offset)),
        [0, 0, 0]
    );
    assert_eq!(
        (batch.start_of(0), batch.start_of(5), batch.start_of(9)),
        (0, batch.bytes().len(), batch.bytes().len())
    );
}

#[test]
fn marks_that_lie_are_left_out() {
    let mark = |end| Mark {
        end,
        offset: 0,
        class: Class::Own,
    };
    let batch = Batch::new(
        room(0),
        Bytes::from_static(b"abcdef"),
        [2, 2, 1, 4, 9].map(mark).to_vec(),
    );
    assert_eq!(batch.marks(), [2, 4].map(mark));
    assert_eq!(batch.bytes(), &Bytes::from_static(b"abcd"));
}

#[test]
fn few_kept_frames_do_not_pin_a_big_batch() {
    let mut rig = Rig::new(4_000);
    let mut frames = [(Class::Normal, 100); 60];
    frames[30] = (Class::High, 0);
    let batch = rig.source.batch(&room(0), &frames);
    rig.outbox.push_batch(&batch, 0, 0).unwrap();
    rig.outbox.push(vec![0x8a, 0].into()).unwrap();
    push(&mut rig, 0, &[(Class::High, 3_000)]).unwrap();
    push(&mut rig, 0, &[(Class::Normal, 500)]).unwrap();
    let pinned: usize = rig
        .outbox
        .queue
        .iter()
        .filter_map(|chunk| match chunk {
            Chunk::Part(part) => Some(part.batch.bytes().len()),
            _ => None,
        })
        .sum();
    assert!(pinned <= 4 * 4_000, "{pinned}");
    assert_eq!(Arc::strong_count(&batch), 1, "the shared batch is free");
}
