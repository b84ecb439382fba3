//! Every order in which two phones and a PC that redeems twice can act on one attempt, each call in two steps as an engine
//! makes it: read the record and decide, then store if nobody has stored meanwhile, or begin again.

use std::collections::BTreeMap;

use countersign_protocol::ErrorCode;

use super::*;

/// A call under way: what it read, if it has.
#[derive(Clone)]
struct Actor {
    calls: &'static [Call],
    next: usize,
    read: Option<Box<Attempt>>,
    answers: Vec<Result<(), ErrorCode>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Scan(u8),
    Confirm(u8),
    Deny(u8),
    Redeem(u8),
    Cancel,
}

/// Everything at one moment.
#[derive(Clone)]
struct World {
    stored: Box<Attempt>,
    actors: Vec<Actor>,
    confirmed_by: Vec<u8>,
    sessions: Vec<u8>,
    /// It stores without looking whether somebody else has.
    careless: bool,
}

impl Actor {
    fn new(calls: &'static [Call]) -> Self {
        Self {
            calls,
            next: 0,
            read: None,
            answers: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.next == self.calls.len()
    }
}

fn phone_of(n: u8) -> Phone {
    phone(
        ["alice", "bob"][usize::from(n)],
        10 + n,
        ["s_1", "s_2"][usize::from(n)],
    )
}

/// Decides a call; every phone types the right number, so that nothing but the attempt stands between them.
fn decided(call: Call, attempt: &Attempt) -> Step {
    let at = T0 + 91 * S;
    let ask = |command: &Command<'_>| decide(attempt, command, at, &Policy::default());
    match call {
        Call::Scan(n) => ask(&Command::Scan {
            qr_id: id(2),
            phone: &phone_of(n),
            token: digest(20 + n),
            digits: digits(),
            typed: None,
        }),
        Call::Confirm(n) => ask(&Command::Confirm {
            qr_id: id(2),
            phone: &phone_of(n),
            token: digest(20 + n),
            code: Some("07"),
            ticket: &Secret::new(TICKET),
        }),
        Call::Deny(n) => ask(&Command::Deny {
            qr_id: id(2),
            phone: &phone_of(n),
            token: digest(20 + n),
        }),
        Call::Redeem(n) => {
            let session = format!("s_pc_{n}");
            ask(&Command::Redeem {
                claim: CLAIM,
                device: PC,
                ticket: TICKET,
                session: &session,
                result: &Sealed::new([n]),
            })
        }
        Call::Cancel => ask(&Command::Cancel {
            claim: CLAIM,
            device: PC,
            reason: CancelReason::User,
        }),
    }
}

impl World {
    fn of(calls: &[&'static [Call]]) -> Self {
        Self {
            stored: Box::new(waiting(MatchMode::PhoneTypes)),
            actors: calls.iter().map(|calls| Actor::new(calls)).collect(),
            confirmed_by: Vec::new(),
            sessions: Vec::new(),
            careless: false,
        }
    }

    /// One step of one actor: it reads, or it stores what it made of what it read.
    fn step(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        let Some(read) = actor.read.take() else {
            actor.read = Some(self.stored.clone());
            return;
        };
        let call = actor.calls[actor.next];
        let step = decided(call, &read);
        if step.next.is_some() && read.version() != self.stored.version() && !self.careless {
            return; // Somebody was faster: it begins again.
        }
        actor.next += 1;
        match (&step.outcome, call) {
            (Ok(Outcome::Confirmed { .. }), Call::Confirm(n)) => self.confirmed_by.push(n),
            (Ok(Outcome::Redeemed(_)), Call::Redeem(n)) => self.sessions.push(n),
            _ => {}
        }
        actor
            .answers
            .push(step.outcome.map(drop).map_err(|refusal| refusal.code));
        if let Some(next) = step.next {
            self.stored = Box::new(next);
        }
    }

    /// What must hold however it went.
    fn check(&self) {
        assert!(self.confirmed_by.len() <= 1, "{:?}", self.confirmed_by);
        assert!(self.sessions.len() <= 1, "{:?}", self.sessions);
        if let Some(n) = self.confirmed_by.first() {
            let scanner = self.stored.scanner().unwrap();
            assert_eq!(
                scanner.user.id,
                phone_of(*n).user.id,
                "who confirmed is who scanned"
            );
        }
        let session = self.sessions.first().map(|n| format!("s_pc_{n}"));
        assert_eq!(self.stored.session(), session.as_deref());
        assert!(self.sessions.is_empty() || !self.confirmed_by.is_empty());
        for actor in &self.actors {
            assert_eq!(actor.answers.len(), actor.calls.len(), "everybody is answered");
        }
        // What was told is one chain, whoever told it.
        let seqs: Vec<u32> = self
            .stored
            .events_after(Some(0))
            .iter()
            .map(|event| event.seq)
            .collect();
        assert_eq!(seqs, (1..=self.stored.seq()).collect::<Vec<_>>());
    }
}

/// Goes on in every way there is, and counts what came of each.
fn explore(world: &World, ends: &mut BTreeMap<String, u64>) {
    let mut alive = false;
    for at in 0..world.actors.len() {
        if world.actors[at].is_done() {
            continue;
        }
        alive = true;
        let mut next = world.clone();
        next.step(at);
        explore(&next, ends);
    }
    if !alive {
        world.check();
        let end = format!("{} by {:?}", world.stored.state().name(), world.confirmed_by);
        *ends.entry(end).or_default() += 1;
    }
}

fn all_orders(calls: &[&'static [Call]]) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    explore(&World::of(calls), &mut ends);
    ends
}

#[test]
fn of_two_phones_one_confirms_and_the_pc_is_signed_in_once() {
    const ALICE: &[Call] = &[Call::Scan(0), Call::Confirm(0)];
    const BOB: &[Call] = &[Call::Scan(1), Call::Confirm(1)];
    let ends = all_orders(&[ALICE, BOB, &[Call::Redeem(1)], &[Call::Redeem(2)]]);
    // Both win in some orders, and in some the PC asks too early.
    for end in [
        "confirmed by [0]",
        "confirmed by [1]",
        "redeemed by [0]",
        "redeemed by [1]",
    ] {
        assert!(ends.contains_key(end), "{end}: {ends:?}");
    }
    assert_eq!(ends.len(), 4, "{ends:?}");
}

#[test]
fn a_cancel_a_denial_and_a_confirmation_at_once_have_one_end() {
    const ALICE: &[Call] = &[Call::Scan(0), Call::Confirm(0), Call::Deny(0)];
    let ends = all_orders(&[ALICE, &[Call::Cancel], &[Call::Redeem(1)]]);
    for end in [
        "cancelled by []",
        "cancelled by [0]",
        "denied by [0]",
        "redeemed by [0]",
    ] {
        assert!(ends.contains_key(end), "{end}: {ends:?}");
    }
    assert_eq!(ends.len(), 4, "{ends:?}");
}

/// The search can fail: an engine that stores without looking is found out.
#[test]
#[should_panic(expected = "[0, 1]")]
fn storing_without_looking_is_found_out() {
    const ALICE: &[Call] = &[Call::Scan(0), Call::Confirm(0)];
    const BOB: &[Call] = &[Call::Scan(1), Call::Confirm(1)];
    let mut world = World::of(&[ALICE, BOB]);
    world.careless = true;
    explore(&world, &mut BTreeMap::new());
}
