use std::hash::RandomState;

use countersign_protocol::UserId;
use countersign_protocol::server::Role;
use proptest::prelude::*;

use super::*;

const LIMITS: StreamLimits = StreamLimits {
    messages: 8,
    bytes: 160,
    age_ms: 1_000,
    cid_entries: 4,
    cid_ms: 700,
};
const PAGE: PageMax = PageMax {
    messages: 5,
    bytes: 90,
};

fn key() -> CidKey {
    CidKey::new(RandomState::new(), RandomState::new())
}

fn stream(limits: StreamLimits) -> Stream {
    Stream::new("e1".into(), limits, key())
}

fn author(id: &str) -> Arc<Author> {
    Arc::new(Author {
        id: UserId::parse(id).unwrap(),
        name: Some("A name".into()),
        avatar: None,
        role: Role::Member,
    })
}

fn draft(user: Option<&str>, cid: Option<&str>, body: &str) -> Draft {
    Draft {
        from: user.map(author),
        source: user.is_none().then_some(Source::Server),
        cid: cid.map(Into::into),
        priority: Priority::Normal,
        body: RawValue::from_string(body.to_owned()).unwrap(),
    }
}

fn offsets(messages: &[Arc<Publication>]) -> Vec<u64> {
    messages.iter().map(|p| p.offset).collect()
}

#[derive(Debug, Clone)]
enum Op {
    Append {
        user: Option<u8>,
        cid: Option<u8>,
        body: u8,
        pad: usize,
    },
    Wait(u64),
    ClockBack(u64),
    Expire,
    TrimOldest,
    Read(u64),
    Recover {
        epoch: bool,
        back: u64,
        ahead: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (prop::option::of(0_u8..2), prop::option::of(0_u8..4), 0_u8..2, 0_usize..40)
            .prop_map(|(user, cid, body, pad)| Op::Append { user, cid, body, pad }),
        3 => (0_u64..400).prop_map(Op::Wait),
        1 => (0_u64..50).prop_map(Op::ClockBack),
        1 => Just(Op::Expire),
        1 => Just(Op::TrimOldest),
        3 => (0_u64..40).prop_map(Op::Read),
        5 => (prop::bool::weighted(0.9), 0_u64..12, prop::bool::weighted(0.1))
            .prop_map(|(epoch, back, ahead)| Op::Recover { epoch, back, ahead }),
    ]
}

/// What is kept, as plain lists: `(offset, at_ms, body length)` and one entry per live `cid`.
#[derive(Default)]
struct Model {
    top: u64,
    at_ms: u64,
    kept: Vec<(u64, u64, usize)>,
    cids: Vec<CidEntry>,
}

struct CidEntry {
    name: (Option<u8>, u8),
    body: String,
    offset: u64,
    at_ms: u64,
}

impl Model {
    fn trim(&mut self, now: u64) {
        while self.kept.len() > LIMITS.messages
            || self.kept.iter().map(|k| k.2).sum::<usize>() > LIMITS.bytes
            || self.kept.first().is_some_and(|k| k.1 + LIMITS.age_ms <= now)
        {
            self.kept.remove(0);
        }
    }

    /// `Ok(Err(first))` is a duplicate.
    fn append(
        &mut self,
        name: (Option<u8>, Option<u8>),
        body: &str,
        now: u64,
    ) -> Result<Result<u64, (u64, u64)>, AppendError> {
        let now = now.max(self.at_ms);
        if let (user, Some(cid)) = name {
            let name = (user, cid);
            self.cids.retain(|c| c.at_ms + LIMITS.cid_ms > now);
            if let Some(first) = self.cids.iter().find(|c| c.name == name) {
                if first.body != body {
                    return Err(AppendError::CidConflict);
                }
                return Ok(Err((first.offset, first.at_ms)));
            }
            if self.cids.len() == LIMITS.cid_entries {
                let after_ms = self.cids[0].at_ms + LIMITS.cid_ms - now;
                return Err(AppendError::CidWindowFull { after_ms });
            }
            self.cids.push(CidEntry {
                name,
                body: body.to_owned(),
                offset: self.top + 1,
                at_ms: now,
            });
        }
        (self.top, self.at_ms) = (self.top + 1, now);
        self.kept.push((self.top, now, body.len()));
        self.trim(now);
        Ok(Ok(self.top))
    }

    fn live(&self, now: u64) -> Vec<(u64, u64, usize)> {
        self.kept
            .iter()
            .copied()
            .filter(|k| k.1 + LIMITS.age_ms > now)
            .collect()
    }

    fn newest(&self, before: u64, now: u64) -> Vec<u64> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        for k in self.live(now).iter().rev().filter(|k| k.0 < before) {
            bytes += k.2;
            if out.len() == PAGE.messages || (!out.is_empty() && bytes > PAGE.bytes) {
                break;
            }
            out.insert(0, k.0);
        }
        out
    }

    fn oldest_after(&self, after: u64, now: u64) -> Vec<u64> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        for k in self.live(now).iter().filter(|k| k.0 > after) {
            bytes += k.2;
            if out.len() == PAGE.messages || (!out.is_empty() && bytes > PAGE.bytes) {
                break;
            }
            out.push(k.0);
        }
        out
    }

    fn missed(&self, offset: u64, now: u64) -> Option<Vec<u64>> {
        if offset > self.top {
            return None;
        }
        let missed: Vec<_> = self.live(now).into_iter().filter(|k| k.0 > offset).collect();
        let whole = missed.len() as u64 == self.top - offset;
        let fits = missed.len() <= PAGE.messages && missed.iter().map(|k| k.2).sum::<usize>() <= PAGE.bytes;
        (whole && fits).then(|| missed.iter().map(|k| k.0).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_stream_does_what_lists_would(ops in prop::collection::vec(op(), 1..120)) {
        let mut stream = stream(LIMITS);
        let mut model = Model::default();
        let mut now = 10_000;
        for op in ops {
            match op {
                Op::Wait(ms) => now += ms,
                Op::ClockBack(ms) => now -= ms,
                Op::TrimOldest => {
                    let before = stream.bytes();
                    let freed = stream.trim_oldest();
                    prop_assert_eq!(before - freed, stream.bytes());
                    if !model.kept.is_empty() {
                        model.kept.remove(0);
                    }
                }
                Op::Expire => {
                    stream.expire(now);
                    let now = now.max(model.at_ms);
                    model.trim(now);
                    model.cids.retain(|c| c.at_ms + LIMITS.cid_ms > now);
                }
                Op::Append { user, cid, body, pad } => {
                    let body = format!("\"{body}{}\"", "x".repeat(pad / 20 * 20));
                    let names = (user.map(|u| format!("u{u}")), cid.map(|c| format!("c{c}")));
                    let got = stream.append(draft(names.0.as_deref(), names.1.as_deref(), &body), now);
                    let expected = model.append((user, cid), &body, now);
                    let got = got.map(|appended| match appended {
                        Appended::Duplicate { offset, at_ms } => Err((offset, at_ms)),
                        Appended::New(p) => {
                            assert_eq!((p.at_ms, p.body.get(), p.cid.as_deref()), (model.at_ms, &*body, names.1.as_deref()));
                            Ok(p.offset)
                        }
                    });
                    prop_assert_eq!(got, expected);
                }
                Op::Read(at) => {
                    let read = |range| offsets(&stream.read(range, PAGE, now));
                    prop_assert_eq!(read(Range::Newest), model.newest(u64::MAX, now));
                    prop_assert_eq!(read(Range::Before(at)), model.newest(at, now));
                    prop_assert_eq!(read(Range::After(at)), model.oldest_after(at, now));
                }
                Op::Recover { epoch, back, ahead } => {
                    let offset = if ahead { model.top + 1 + back } else { model.top.saturating_sub(back) };
                    let got = stream.recover(if epoch { "e1" } else { "e0" }, offset, PAGE, now);
                    let expected = model.missed(offset, now).filter(|_| epoch);
                    prop_assert_eq!(got.recovered, expected.is_some());
                    let expected = expected.unwrap_or_else(|| model.newest(u64::MAX, now));
                    prop_assert_eq!(offsets(&got.messages), expected);
                }
            }
            prop_assert_eq!((stream.top(), stream.len()), (model.top, model.kept.len()));
            let weight: usize = stream.history.iter().map(|p| p.weight()).sum();
            prop_assert_eq!(stream.bytes(), weight);
        }
    }

    #[test]
    fn a_publication_survives_being_stored(
        offset in 1..u64::MAX,
        user in prop::option::of("[a-z]{1,8}"),
        cid in prop::option::of(".{0,12}"),
        text in ".{0,40}",
    ) {
        let body = serde_json::to_string(&text).unwrap();
        let Draft { from, source, cid, priority: _, body } = draft(user.as_deref(), cid.as_deref(), &body);
        let publication = Publication { offset, at_ms: 7, from, source, cid, priority: Priority::High, body };
        let stored = serde_json::to_vec(&publication).unwrap();
        let back: Publication = serde_json::from_slice(&stored).unwrap();
        prop_assert_eq!(serde_json::to_vec(&back).unwrap(), stored);
        let room = RoomName::parse("chat:lobby").unwrap();
        let told = serde_json::to_string(&back.push(&room)).unwrap();
        prop_assert_eq!(&told, &serde_json::to_string(&publication.push(&room)).unwrap());
        let told: MessagePush<'_> = serde_json::from_str(&told).unwrap();
        prop_assert_eq!(told.from.as_deref(), publication.from.as_deref());
        prop_assert_eq!(told.body.get(), publication.body.get());
        prop_assert_eq!(told.source.as_deref(), publication.source.map(Source::name));
    }
}

#[test]
fn a_push_is_the_wire_form() {
    let mut stream = stream(StreamLimits::default());
    let room = RoomName::parse("chat:lobby").unwrap();
    let Ok(Appended::New(p)) = stream.append(draft(None, None, r#"{"a": 1}"#), 5) else {
        panic!()
    };
    let told = serde_json::to_string(&p.push(&room)).unwrap();
    let expected = r#"{"type":"message","room":"chat:lobby","offset":1,"at_ms":5,"from":null,"source":"server","body":{"a": 1}}"#;
    assert_eq!(told, expected);
}

#[test]
fn an_author_is_user_and_source() {
    let mut stream = stream(StreamLimits::default());
    let new = |appended| matches!(appended, Ok(Appended::New(_)));
    assert!(new(stream.append(draft(Some("ann"), Some("c"), "1"), 0)));
    assert!(new(stream.append(draft(Some("bob"), Some("c"), "1"), 0)));
    assert!(new(stream.append(draft(None, Some("c"), "1"), 0)));
    let as_ann = Draft {
        source: Some(Source::Server),
        ..draft(Some("ann"), Some("c"), "1")
    };
    assert!(new(stream.append(as_ann, 0)));
    assert!(!new(stream.append(draft(Some("ann"), Some("c"), "1"), 0)));
    assert!(
        new(stream.append(draft(Some("an"), Some("nc"), "1"), 0)),
        "fields do not run together"
    );
}

#[test]
fn empty_streams_are_small_and_drained_ones_shrink() {
    assert!(size_of::<Stream>() <= 256, "{}", size_of::<Stream>());
    let mut stream = stream(StreamLimits::default());
    assert_eq!((stream.history.capacity(), stream.window.capacity()), (0, 0));
    for n in 0..400 {
        stream
            .append(draft(Some("ann"), Some(&format!("c{n}")), "1"), 0)
            .unwrap();
    }
    assert_eq!((stream.len(), stream.top()), (300, 400));
    stream.expire(5 * 60 * 1_000);
    assert_eq!((stream.len(), stream.bytes(), stream.top()), (0, 0, 400));
    assert_eq!((stream.history.capacity(), stream.window.capacity()), (0, 0));
    let recovery = stream.recover("e1", 400, PageMax::RECOVERY, 5 * 60 * 1_000);
    assert!(
        recovery.recovered && recovery.messages.is_empty(),
        "nothing was missed"
    );
    assert!(
        !stream
            .recover("e1", 399, PageMax::RECOVERY, 5 * 60 * 1_000)
            .recovered
    );
}

#[test]
fn a_full_window_refuses_and_a_message_without_cid_passes() {
    let mut stream = stream(LIMITS);
    for n in 0..4 {
        stream
            .append(draft(Some("ann"), Some(&format!("c{n}")), "1"), n)
            .unwrap();
    }
    let refused = stream.append(draft(Some("ann"), Some("c9"), "1"), 10);
    assert_eq!(refused.unwrap_err(), AppendError::CidWindowFull { after_ms: 690 });
    assert!(matches!(
        stream.append(draft(Some("ann"), Some("c0"), "1"), 10),
        Ok(Appended::Duplicate { offset: 1, at_ms: 0 })
    ));
    assert!(matches!(
        stream.append(draft(Some("ann"), Some("c0"), "2"), 10),
        Err(AppendError::CidConflict)
    ));
    stream.append(draft(Some("ann"), None, "1"), 10).unwrap();
    stream.append(draft(Some("ann"), Some("c9"), "1"), 700).unwrap();
}

#[test]
fn a_page_carries_one_message_of_any_length() {
    let mut stream = stream(StreamLimits::default());
    for _ in 0..2 {
        stream.append(draft(None, None, "\"long enough\""), 0).unwrap();
    }
    let narrow = PageMax {
        messages: 9,
        bytes: 1,
    };
    assert_eq!(offsets(&stream.read(Range::Newest, narrow, 0)), [2]);
    assert_eq!(offsets(&stream.read(Range::After(0), narrow, 0)), [1]);
    assert!(!stream.recover("e1", 1, narrow, 0).recovered);
    assert!(
        stream
            .read(
                Range::Newest,
                PageMax {
                    messages: 0,
                    bytes: 9
                },
                0
            )
            .is_empty()
    );
}
