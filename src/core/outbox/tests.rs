use std::collections::{BTreeMap, BTreeSet};

use countersign_protocol::codec::{Header, json_frame, text_frame};
use countersign_protocol::server::{GapPush, PresencePush};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::thin::{Kind, Note};
use super::*;

mod rules;

fn room(index: usize) -> RoomName {
    RoomName::parse(["chat:a", "chat:bb", "live:c"][index % 3]).unwrap()
}

/// One frame as the tests see it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// Number of the input it is; 0 for a `gap` or `reset`.
    n: u64,
    class: Class,
    room: String,
    value: Value,
    len: usize,
}

impl Seen {
    fn kind(&self) -> &str {
        self.value["type"].as_str().unwrap()
    }

    fn lesser(&self) -> bool {
        self.n != 0 && matches!(self.class, Class::Low | Class::Presence)
    }

    fn is_normal(&self) -> bool {
        self.n != 0 && self.class == Class::Normal
    }
}

/// Parses whole frames; panics on half ones.
fn parse(mut bytes: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(bytes).unwrap().expect("a whole header");
        let len = header.len + usize::try_from(header.payload).unwrap();
        assert!(len <= bytes.len(), "the last frame is cut");
        let value: Value = serde_json::from_slice(&bytes[header.len..len]).unwrap();
        seen.push(Seen {
            n: value["n"].as_u64().unwrap_or(0),
            class: class_named(value["class"].as_str().unwrap_or("own")),
            room: value["room"].as_str().unwrap_or("").to_owned(),
            value,
            len,
        });
        bytes = &bytes[len..];
    }
    seen
}

const NAMES: [(&str, Class); 7] = [
    ("own", Class::Own),
    ("high", Class::High),
    ("normal", Class::Normal),
    ("low", Class::Low),
    ("presence", Class::Presence),
    ("counts", Class::Counts),
    ("info", Class::Room),
];

fn class_named(name: &str) -> Class {
    NAMES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn is_message(class: Class) -> bool {
    matches!(class, Class::High | Class::Normal | Class::Low)
}

fn frame(n: u64, class: Class, room: &RoomName, offset: u64, pad: usize) -> Vec<u8> {
    let name = NAMES.iter().find(|(_, known)| *known == class).unwrap().0;
    // As long as a real one at least, so that a gap is always the shorter.
    let pad = "x".repeat(40 + pad);
    let value = json!({"type": name, "class": name, "room": room, "offset": offset, "n": n, "pad": pad});
    text_frame(&value)
}

/// Builds batches with rising offsets, as a hub does.
#[derive(Default)]
struct Source {
    n: u64,
    tops: BTreeMap<RoomName, u64>,
}

impl Source {
    fn batch(&mut self, room: &RoomName, frames: &[(Class, usize)]) -> Arc<Batch> {
        let (mut bytes, mut marks) = (Vec::new(), Vec::new());
        for (class, pad) in frames {
            self.n += 1;
            let mut offset = 0;
            if is_message(*class) {
                let top = self.tops.entry(room.clone()).or_default();
                *top += 1;
                offset = *top;
            }
            bytes.extend(frame(self.n, *class, room, offset, *pad));
            let end = u32::try_from(bytes.len()).unwrap();
            marks.push(Mark {
                end,
                offset,
                class: *class,
            });
        }
        Arc::new(Batch::new(room.clone(), bytes.into(), marks))
    }
}

/// An outbox next to everything that left it.
struct Rig {
    source: Source,
    outbox: Outbox,
    wire: Vec<u8>,
    /// Last offset handed to the outbox, by room.
    pushed: BTreeMap<String, u64>,
}

#[derive(Debug, Clone)]
enum Op {
    Own(usize),
    Batch {
        room: usize,
        frames: Vec<(Class, usize)>,
        /// In percent of the batch, when the outbox is empty.
        sent: usize,
        /// Join again behind this message before the batch is pushed.
        joined_at: Option<usize>,
    },
    Leave {
        slices: usize,
        bytes: usize,
    },
}

impl Rig {
    fn new(bytes_max: u32) -> Self {
        Self {
            source: Source::default(),
            outbox: Outbox::new(bytes_max),
            wire: Vec::new(),
            pushed: BTreeMap::new(),
        }
    }

    fn queued(&self) -> Vec<Seen> {
        let bytes: Vec<u8> = self
            .outbox
            .queue
            .iter()
            .enumerate()
            .flat_map(|(at, chunk)| {
                let whole = match chunk {
                    Chunk::Part(part) if at == 0 => &part.batch.bytes()[part.start()..part.stop()],
                    chunk => chunk.bytes(),
                };
                whole.to_vec()
            })
            .collect();
        parse(&bytes)
    }

    fn apply(&mut self, op: Op) -> Result<(), Overflow> {
        match op {
            Op::Leave { slices, bytes } => self.leave(slices, bytes),
            Op::Own(pad) => {
                self.source.n += 1;
                let own = frame(self.source.n, Class::Own, &room(0), 0, pad);
                self.checked(&own.clone(), |outbox| outbox.push(own.into()))?;
            }
            Op::Batch {
                room: index,
                frames,
                sent,
                joined_at,
            } => {
                let room = room(index);
                self.source.n += 1;
                let join = self.source.n;
                let batch = self.source.batch(&room, &frames);
                let mut first = 0;
                if let Some(mark) = joined_at
                    .and_then(|at| batch.marks().get(at))
                    .filter(|m| m.offset != 0)
                {
                    let before = self.pushed.insert(room.to_string(), mark.offset).unwrap_or(0);
                    let joined = json!({"type": "joined", "room": room, "class": "own", "n": join,
                        "offset": mark.offset, "before": before});
                    let joined = text_frame(&joined);
                    self.checked(&joined.clone(), |outbox| outbox.push_join(&room, joined.into()))?;
                    first = batch.first_after(mark.offset);
                }
                let start = batch.start_of(first);
                let mut sent = sent * (batch.bytes().len() - start) / 100;
                if !self.outbox.is_empty() {
                    sent = 0;
                }
                self.wire.extend(&batch.bytes()[start..start + sent]);
                if let Some(top) = batch.marks()[first..]
                    .iter()
                    .map(|m| m.offset)
                    .max()
                    .filter(|o| *o != 0)
                {
                    self.pushed.insert(room.to_string(), top);
                }
                let whole = first
                    + batch.marks()[first..]
                        .iter()
                        .filter(|m| m.end as usize <= start + sent)
                        .count();
                let new = batch.bytes()[batch.start_of(whole)..].to_vec();
                let cut = start + sent - batch.start_of(whole);
                self.checked_cut(&new, cut, |outbox| outbox.push_batch(&batch, first, sent))?;
            }
        }
        Ok(())
    }

    fn leave(&mut self, slices: usize, mut n: usize) {
        let mut out = vec![IoSlice::new(&[]); slices];
        let set = self.outbox.io_slices(&mut out);
        assert_eq!(set, slices.min(self.outbox.queue.len()));
        let mut left = 0;
        for slice in &out[..set] {
            let take = n.min(slice.len());
            self.wire.extend(&slice[..take]);
            left += take;
            n -= take;
        }
        self.outbox.advance(left);
    }

    fn checked(
        &mut self,
        new: &[u8],
        push: impl FnOnce(&mut Outbox) -> Result<Shed, Overflow>,
    ) -> Result<(), Overflow> {
        self.checked_cut(new, 0, push)
    }

    /// Pushes and holds the outcome against the rules: `new` are the frames pushed, of which `cut` bytes left.
    fn checked_cut(
        &mut self,
        new: &[u8],
        cut: usize,
        push: impl FnOnce(&mut Outbox) -> Result<Shed, Overflow>,
    ) -> Result<(), Overflow> {
        let mut before = self.queued();
        let begun = usize::from(self.outbox.cut > 0 || cut > 0);
        let waiting = self.outbox.bytes() + new.len() - cut;
        before.extend(parse(new));
        let bound = self.outbox.bytes_max as usize;
        let outcome = push(&mut self.outbox);
        let after = self.queued();
        let Ok(shed) = outcome else {
            let kept: usize = before
                .iter()
                .filter(|s| !s.lesser() && !s.is_normal())
                .map(|s| s.len)
                .sum();
            assert!(kept + 90 * before.len() > bound, "overflow without need");
            assert!(after.len() <= begun, "only a begun frame outlives an overflow");
            return Err(Overflow);
        };
        check_push(&before, begun, &after, shed, waiting, &self.outbox);
        Ok(())
    }
}

fn ids(seen: &[Seen], pick: impl Fn(&Seen) -> bool) -> Vec<u64> {
    seen.iter().filter(|s| s.n != 0 && pick(s)).map(|s| s.n).collect()
}

fn check_push(before: &[Seen], begun: usize, after: &[Seen], shed: Shed, waiting: usize, outbox: &Outbox) {
    let bound = outbox.bytes_max as usize;
    let total: usize = after.iter().map(|s| s.len).sum();
    assert_eq!(
        outbox.bytes(),
        total - outbox.cut as usize,
        "bytes are counted exactly"
    );
    assert!(outbox.bytes() <= bound, "the bound holds");
    let begun = begun.min(before.len());
    assert_eq!(before[..begun], after[..begun], "a begun frame stays");

    let kept: BTreeSet<u64> = ids(after, |_| true).into_iter().collect();
    let expected = ids(before, |s| kept.contains(&s.n));
    assert_eq!(ids(after, |_| true), expected, "what remains keeps its order");

    let free = &before[begun..];
    let gone = |s: &Seen| !kept.contains(&s.n);
    for (at, s) in free.iter().enumerate().filter(|(_, s)| s.n != 0) {
        let absolute = matches!(s.class, Class::Counts | Class::Room);
        let newer = free[at + 1..]
            .iter()
            .any(|o| o.n != 0 && o.class == s.class && o.room == s.room);
        if absolute || matches!(s.class, Class::Own | Class::High) {
            assert_eq!(
                gone(s),
                absolute && newer,
                "one slot per room; high and own stay: {s:?}"
            );
        }
    }
    let lesser = ids(free, Seen::lesser);
    let normal = ids(free, Seen::is_normal);
    let lesser_gone = ids(free, |s| s.lesser() && gone(s));
    let normal_gone = ids(free, |s| s.is_normal() && gone(s));
    assert!(
        lesser.starts_with(&lesser_gone) && normal.starts_with(&normal_gone),
        "oldest first"
    );
    assert!(
        normal_gone.is_empty() || lesser_gone == lesser,
        "lesser classes first"
    );
    let count = |class| ids(free, |s| s.class == class && gone(s)).len();
    let counted = [shed.low, shed.normal, shed.presence, shed.replaced].map(|n| n as usize);
    let replaced = count(Class::Counts) + count(Class::Room);
    assert_eq!(
        counted,
        [
            count(Class::Low),
            count(Class::Normal),
            count(Class::Presence),
            replaced
        ]
    );

    let replaced_bytes: usize = free
        .iter()
        .filter(|s| matches!(s.class, Class::Counts | Class::Room) && s.n != 0 && gone(s))
        .map(|s| s.len)
        .sum();
    let target = bound / 4 * 3;
    let dropped = lesser_gone.len() + normal_gone.len();
    if waiting - replaced_bytes <= bound {
        assert_eq!(dropped, 0, "nothing is dropped without need");
    } else if dropped < lesser.len() + normal.len() {
        assert!(outbox.bytes() <= target, "shedding goes down to three quarters");
        // Slack: behind the last one dropped, a gap and a reset of each room may still have joined another.
        let last = normal_gone.last().or(lesser_gone.last()).unwrap();
        let last = before.iter().find(|s| s.n == *last).unwrap().len;
        assert!(outbox.bytes() + last + 6 * 90 > target, "and not further");
    }
    for s in free
        .iter()
        .filter(|s| s.n != 0 && s.class == Class::Presence && gone(s))
    {
        let told = after[begun..]
            .iter()
            .any(|o| o.n == 0 && o.room == s.room && o.value["reset"] == true);
        assert!(told, "dropped presence is told");
    }
    check_notes(&after[begun.min(after.len())..]);
}

/// Among frames that have not begun: gaps that could be one are one, and there is one reset per stay.
fn check_notes(queued: &[Seen]) {
    let mut gaps: BTreeMap<&str, u64> = BTreeMap::new();
    let mut resets: BTreeSet<&str> = BTreeSet::new();
    for s in queued {
        match s.kind() {
            "joined" => {
                gaps.remove(s.room.as_str());
                resets.remove(s.room.as_str());
            }
            "gap" => {
                let from = s.value["from"].as_u64().unwrap();
                let before = gaps.insert(&s.room, s.value["to"].as_u64().unwrap());
                assert_ne!(before.map(|to| to + 1), Some(from), "neighbouring gaps are one");
            }
            "presence" if s.value["reset"] == true => assert!(resets.insert(&s.room), "one reset per room"),
            _ => {}
        }
    }
}

/// What a client sees: every offset exactly once, delivered or in a gap, in order.
fn check_wire(wire: &[u8]) -> BTreeMap<String, u64> {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let mut last = 0;
    for s in parse(wire) {
        assert!(s.n == 0 || s.n > last, "nothing overtakes");
        last = last.max(s.n);
        let expected = next.entry(s.room.clone()).or_insert(1);
        match s.kind() {
            "high" | "normal" | "low" => {
                assert_eq!(
                    s.value["offset"], *expected,
                    "each message, or a gap before the next"
                );
                *expected += 1;
            }
            "gap" => {
                assert_eq!(s.value["from"], *expected);
                *expected = s.value["to"].as_u64().unwrap() + 1;
            }
            "joined" => {
                assert_eq!(
                    s.value["before"].as_u64().unwrap() + 1,
                    *expected,
                    "told before the next stay"
                );
                *expected = s.value["offset"].as_u64().unwrap() + 1;
            }
            _ => {}
        }
    }
    next
}

fn op() -> impl Strategy<Value = Op> {
    let class = prop_oneof![
        2 => Just(Class::High),
        8 => Just(Class::Normal),
        5 => Just(Class::Low),
        3 => Just(Class::Presence),
        2 => Just(Class::Counts),
        1 => Just(Class::Room),
    ];
    let frames = prop::collection::vec((class, 0_usize..160), 1..8);
    let joined_at = prop::option::weighted(0.1, 0_usize..8);
    prop_oneof![
        1 => (0_usize..100).prop_map(Op::Own),
        4 => (0_usize..3, frames, 0_usize..=100, joined_at)
            .prop_map(|(room, frames, sent, joined_at)| Op::Batch { room, frames, sent, joined_at }),
        3 => (1_usize..6, 0_usize..1_500).prop_map(|(slices, bytes)| Op::Leave { slices, bytes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_frame_is_whole_in_order_or_told(bytes_max in 1_500_u32..12_000, ops in prop::collection::vec(op(), 1..90)) {
        let mut rig = Rig::new(bytes_max);
        let overflowed = ops.into_iter().any(|op| rig.apply(op).is_err());
        let backlog = rig.outbox.bytes();
        rig.leave(10_000, usize::MAX);
        prop_assert!(rig.outbox.is_empty() && rig.outbox.queue.capacity() == 0, "{} left", backlog);
        let next = check_wire(&rig.wire);
        if !overflowed {
            for (room, top) in &rig.pushed {
                prop_assert_eq!(next.get(room).copied().unwrap_or(1), top + 1, "everything is told in {}", room);
            }
        }
        prop_assert_eq!(overflowed, rig.outbox.is_sealed());
    }

    #[test]
    fn a_note_knows_its_length(name in "[a-z]{1,60}:[a-z]{1,67}", from in any::<u64>(), to in any::<u64>()) {
        let room = RoomName::parse(&name).unwrap();
        let gap = Note::new(room.clone(), Kind::Gap { from, to });
        prop_assert_eq!(gap.told(), (&room, Kind::Gap { from, to }));
        prop_assert_eq!(gap.len(), text_frame(&GapPush { room: room.clone(), from, to }).len());
        let reset = Note::new(room.clone(), Kind::Reset);
        let push = PresencePush { room, joined: vec![], left: vec![], reset: true };
        prop_assert_eq!(reset.len(), text_frame(&push).len());
    }
}
