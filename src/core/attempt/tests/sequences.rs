//! Random sequences of commands with jumps in time: what must hold whatever happens.

use std::collections::BTreeMap;

use countersign_protocol::ErrorCode;
use countersign_protocol::server::QrState;
use proptest::prelude::*;

use super::*;
use ops::{Op, op};

mod ops;

/// The world around the attempt, with its own books.
struct World {
    attempt: Attempt,
    now: u64,
    policy: Policy,
    phones: [Phone; 4],
    drawn: u8,
    minted: BTreeMap<QrId, u64>,
    /// Scan tokens handed out, newest last, each with its phone.
    tokens: Vec<(Digest, usize)>,
    tickets: Vec<Secret>,
    told: Vec<Event>,
    confirmations: u32,
    wrong_codes: u8,
    matched: bool,
    typed: bool,
    redeemed: Option<(u64, Sealed)>,
}

impl World {
    fn new(opening: Opening) -> Self {
        let policy = Policy::default();
        let attempt = open(opening, T0, &policy);
        Self {
            told: attempt.events_after(Some(0)),
            attempt,
            now: T0,
            policy,
            phones: phones(),
            drawn: 100,
            minted: [(id(0), T0)].into(),
            tokens: Vec::new(),
            tickets: Vec::new(),
            confirmations: 0,
            wrong_codes: 0,
            matched: false,
            typed: false,
            redeemed: None,
        }
    }

    fn draw(&mut self) -> u8 {
        self.drawn += 1;
        self.drawn
    }

    /// 0 the newest id, then older ones, then one that never was.
    fn id(&self, which: u8) -> QrId {
        let ids: Vec<QrId> = self.attempt.ids().collect();
        ids.iter()
            .rev()
            .nth(usize::from(which))
            .copied()
            .unwrap_or(id(250))
    }

    fn token(&self, which: u8) -> Digest {
        self.tokens
            .iter()
            .rev()
            .nth(usize::from(which))
            .map_or(WRONG, |(token, _)| *token)
    }

    fn step(&mut self, op: &Op) {
        let fresh = self.draw();
        let (ticket, sealed) = (Secret::new(format!("ticket {fresh}")), Sealed::new([fresh]));
        let held = self
            .tickets
            .last()
            .cloned()
            .unwrap_or_else(|| Secret::new("none"));
        let phones = self.phones.clone();
        let session = format!("s_pc_{fresh}");
        let stranger = phones[1].user.id.clone();
        let right = if self.attempt.grant().is_some() {
            "bcdf ghjk"
        } else {
            "07"
        };
        let code = |n: u8| [right, "70", "99", "", "7", "BCDF-GHJL"][usize::from(n)];
        let claim = |right: bool| if right { CLAIM } else { WRONG };
        let names = ["c_1", "c_2", "c_3"];
        let device = PC;
        let command = match *op {
            Op::Wait(ms) => {
                self.now += ms;
                return;
            }
            Op::Tick => Command::Tick { fresh: id(fresh) },
            Op::TickWhenDue => {
                self.now = self.now.max(self.attempt.due_at(&self.policy));
                Command::Tick { fresh: id(fresh) }
            }
            Op::Watch(n) => Command::Watch {
                claim: CLAIM,
                device,
                connection: names[usize::from(n)],
            },
            Op::Unwatch(n) => Command::Unwatch {
                connection: names[usize::from(n)],
            },
            Op::Poll(right) => Command::Poll {
                claim: claim(right),
                device,
            },
            Op::Scan { which, phone } => {
                let (qr_id, phone) = (self.id(which), &phones[phone]);
                Command::Scan {
                    qr_id,
                    phone,
                    token: digest(fresh),
                    digits: digits(),
                    typed: None,
                }
            }
            Op::Answer { code: n, right_claim } => Command::Answer {
                claim: claim(right_claim),
                device,
                code: code(n),
            },
            Op::Confirm {
                which,
                phone,
                token,
                code: n,
            } => {
                let (qr_id, phone, token) = (self.id(which), &phones[phone], self.token(token));
                Command::Confirm {
                    qr_id,
                    phone,
                    token,
                    code: Some(code(n)),
                    ticket: &ticket,
                }
            }
            Op::Deny { which, phone, token } => Command::Deny {
                qr_id: self.id(which),
                phone: &phones[phone],
                token: self.token(token),
            },
            Op::Ask { which, phone } => Command::AskOutcome {
                qr_id: self.id(which),
                phone: &phones[phone],
            },
            Op::Cancel(right) => Command::Cancel {
                claim: claim(right),
                device,
                reason: CancelReason::User,
            },
            Op::Redeem {
                right_ticket,
                right_claim,
            } => {
                let ticket = if right_ticket { held.expose() } else { "wrong" };
                let (claim, session) = (claim(right_claim), session.as_str());
                Command::Redeem {
                    claim,
                    device,
                    ticket,
                    session,
                    result: &sealed,
                }
            }
            Op::Type { right, phone } => Command::Scan {
                qr_id: self.id(0),
                phone: &phones[phone],
                token: digest(fresh),
                digits: digits(),
                typed: if right {
                    Some(user_code())
                } else {
                    UserCode::new([9; 8])
                },
            },
            Op::Exchange {
                right_client,
                right_claim,
            } => Command::Exchange {
                claim: claim(right_claim),
                client: if right_client { CLIENT } else { "reader" },
                session: session.as_str(),
                result: &sealed,
            },
            Op::Revoked(right) => Command::ScannerRevoked {
                session: if right { "s_1" } else { "s_9" },
            },
            Op::Locked(right) => Command::ScannerLocked {
                user: if right { &phones[0].user.id } else { &stranger },
            },
        };
        let step = decide(&self.attempt, &command, self.now, &self.policy);
        self.check_pure(&command, &step);
        self.check_timers(&command, &step);
        self.check_step(&step);
        transitions::check(&self.attempt, &command, &step, &self.told);
        self.check_outcome(op, &command, &step);
        self.told.extend(step.events);
        if let Some(next) = step.next {
            self.attempt = next;
        }
        assert_eq!(
            self.attempt.events_after(Some(0)),
            self.told,
            "what was raised is what is replayed"
        );
    }

    /// The same answer twice; and everything survives the way through bytes.
    fn check_pure(&self, command: &Command<'_>, step: &Step) {
        let bytes = serde_json::to_vec(&self.attempt).unwrap();
        let read: Attempt = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, self.attempt);
        assert_eq!(&decide(&read, command, self.now, &self.policy), step);
        for event in &step.events {
            let text = serde_json::to_string(event).unwrap();
            assert_eq!(&serde_json::from_str::<Event>(&text).unwrap(), event);
        }
    }

    /// A tick before the command, or none, makes no difference to the answer; ticks come when they are due.
    fn check_timers(&self, command: &Command<'_>, step: &Step) {
        let tick = Command::Tick { fresh: id(251) };
        let ticked = decide(&self.attempt, &tick, self.now, &self.policy);
        let due = self.now >= self.attempt.due_at(&self.policy);
        let forgotten = ticked.outcome == Ok(Outcome::Forgotten);
        assert_eq!(
            due,
            ticked.next.is_some() || forgotten,
            "something to do exactly when due"
        );
        let after = ticked.next.as_ref().unwrap_or(&self.attempt);
        assert!(
            forgotten || after.due_at(&self.policy) > self.now,
            "a tick gets its work done"
        );
        if after.state() == QrState::Waiting && due {
            return; // A rotation: the newest event differs, rightly.
        }
        let then = decide(after, command, self.now, &self.policy);
        assert_eq!(then.outcome, step.outcome, "late tick, {command:?}");
    }

    fn check_step(&self, step: &Step) {
        let (before, after) = (&self.attempt, step.next.as_ref().unwrap_or(&self.attempt));
        assert!(step.events.len() <= 1);
        assert_eq!(after.seq() as usize, self.told.len() + step.events.len());
        for event in &step.events {
            assert_eq!((event.seq, event.state()), (before.seq() + 1, after.state()));
        }
        assert_eq!(after.version(), before.version() + u64::from(step.next.is_some()));
        if let Some(next) = &step.next {
            assert_ne!(
                next.clone(),
                Attempt {
                    version: next.version,
                    ..before.clone()
                },
                "stored for nothing"
            );
        }
        if before.state().is_final() {
            assert_eq!((after.state(), after.reason()), (before.state(), before.reason()));
            assert_eq!((after.final_at(), step.events.len()), (before.final_at(), 0));
        }
        assert!(after.ids().len() <= IDS_MAX);
    }

    fn check_outcome(&mut self, op: &Op, command: &Command<'_>, step: &Step) {
        let next = step.next.as_ref();
        for qr_id in next.into_iter().flat_map(Attempt::ids) {
            self.minted.entry(qr_id).or_insert(self.now);
        }
        match (&step.outcome, command, op) {
            (
                Ok(Outcome::Scanned(_)),
                Command::Scan {
                    qr_id, token, typed, ..
                },
                Op::Scan { phone, .. } | Op::Type { phone, .. },
            ) => {
                let grant = self.attempt.grant();
                assert!(typed.is_none() || *typed == grant.map(|grant| grant.user_code));
                self.typed |= typed.is_some();
                let life = if grant.is_some() { 300 } else { 90 };
                if self.attempt.state() == QrState::Waiting {
                    assert!(self.now < self.minted[qr_id] + life * S, "a dead id was scanned");
                } else {
                    assert_eq!(
                        self.tokens.last().map(|(_, phone)| phone),
                        Some(phone),
                        "one scanner"
                    );
                }
                self.tokens.push((*token, *phone));
            }
            (
                Ok(Outcome::Confirmed { .. }),
                Command::Confirm {
                    token, ticket, code, ..
                },
                Op::Confirm { phone, .. },
            ) => {
                self.confirmations += 1;
                let shown = match self.attempt.mode() {
                    MatchMode::PhoneTypes if self.attempt.grant().is_some() => *code == Some("bcdf ghjk"),
                    MatchMode::None if self.attempt.grant().is_some() => self.typed,
                    MatchMode::PhoneTypes => *code == Some("07"),
                    MatchMode::PcTypes => self.matched,
                    MatchMode::None => true,
                };
                assert!(shown, "confirmed without the number");
                assert_eq!(
                    self.tokens.last(),
                    Some(&(*token, *phone)),
                    "only the newest token, in its hand"
                );
                self.tickets.push((*ticket).clone());
            }
            (Ok(Outcome::Denied), Command::Deny { token, .. }, Op::Deny { phone, .. })
                if self.attempt.state() == QrState::Scanned =>
            {
                assert_eq!(self.tokens.last(), Some(&(*token, *phone)));
            }
            (Ok(Outcome::Redeemed(result)), ..) => {
                assert_eq!(self.redeemed, None, "one redemption");
                match command {
                    Command::Redeem { ticket, .. } => {
                        assert!(self.attempt.grant().is_none(), "a grant needs its client");
                        let held = self.tickets.last();
                        assert!(
                            held.is_some_and(|held| held.is(ticket)),
                            "redeemed without the ticket"
                        );
                    }
                    Command::Exchange { claim, client, .. } => {
                        let granted = self.attempt.grant().is_some() && self.confirmations == 1;
                        assert!(
                            granted && *claim == CLAIM && *client == CLIENT,
                            "exchanged by {op:?}"
                        );
                    }
                    _ => panic!("redeemed by {command:?}"),
                }
                self.redeemed = Some((self.now, result.clone()));
            }
            (Ok(Outcome::RedeemedAgain(result)), ..) => {
                let (at, first) = self.redeemed.as_ref().unwrap();
                assert_eq!(result, first, "one result");
                assert!(self.now < at + 30 * S);
            }
            (Ok(Outcome::Matched), Command::Answer { code, .. }, _) => {
                assert_eq!(*code, "07");
                self.matched = true;
            }
            (Err(refusal), ..) if refusal.code == ErrorCode::MatchFailed => {
                self.wrong_codes += 1;
                assert_eq!(refusal.tries_left, Some(3 - self.wrong_codes));
                let denied = next.is_some_and(|next| next.state() == QrState::Denied);
                assert_eq!(denied, self.wrong_codes == 3, "the third wrong code ends it");
            }
            _ => {}
        }
        assert!(self.confirmations <= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(
        opening in prop_oneof![
            Just(opening(MatchMode::PhoneTypes)),
            Just(opening(MatchMode::PcTypes)),
            Just(opening(MatchMode::None)),
            Just(granting()),
        ],
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut world = World::new(opening);
        for op in &ops {
            world.step(op);
        }
    }
}

/// The generator reaches what the properties are about.
#[test]
fn sequences_get_everywhere() {
    everywhere(|| opening(MatchMode::PhoneTypes));
    everywhere(granting);
}

fn everywhere(opening: fn() -> Opening) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..600 {
        let ops = prop::collection::vec(op(), 1..60)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut world = World::new(opening());
        for op in &ops {
            world.step(op);
        }
        *seen.entry(world.attempt.state().name()).or_default() += 1;
        *seen.entry("grace used").or_default() += u32::from(world.redeemed.is_some());
    }
    for state in [
        "scanned",
        "confirmed",
        "redeemed",
        "denied",
        "cancelled",
        "expired",
    ] {
        assert!(seen.get(state).is_some_and(|n| *n >= 5), "{state}: {seen:?}");
    }
}
