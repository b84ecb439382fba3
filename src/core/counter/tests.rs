use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_protocol::UserId;
use countersign_protocol::server::{Member, Profile, Role};
use proptest::prelude::*;

use super::*;

const INTERVAL_MS: u32 = 200;

fn profile(user: u8, name: u8) -> Arc<Profile> {
    Arc::new(Profile {
        id: UserId::parse(&format!("user{user:03}")).unwrap(),
        name: (name > 0).then(|| format!("name{name}")),
        avatar: None,
    })
}

fn role(index: u8) -> Role {
    if index == 0 { Role::Member } else { Role::Moderator }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Enter(u64, Option<(u8, u8, u8)>),
    SignIn(u64, (u8, u8, u8)),
    Leave(u64),
    SetRole(u8, u8),
    Like(u8, u64),
    Wait(u64),
    Join,
}

fn op() -> impl Strategy<Value = Op> {
    let user = || (0_u8..6, 0_u8..2, 0_u8..2);
    prop_oneof![
        4 => (0_u64..8, prop::option::weighted(0.7, user())).prop_map(|(c, user)| Op::Enter(c, user)),
        2 => (0_u64..8, user()).prop_map(|(c, user)| Op::SignIn(c, user)),
        5 => (0_u64..8).prop_map(Op::Leave),
        1 => (0_u8..6, 0_u8..2).prop_map(|(user, role)| Op::SetRole(user, role)),
        2 => (0_u8..2, 0_u64..3).prop_map(|(name, n)| Op::Like(name, n)),
        4 => (0_u64..150).prop_map(Op::Wait),
        1 => Just(Op::Join),
    ]
}

/// The room as plain maps, and what clients believe who follow the publications.
#[derive(Default)]
struct Model {
    connections: BTreeMap<u64, Option<u8>>,
    users: BTreeMap<u8, Member>,
    likes: BTreeMap<String, u64>,
    told_members: BTreeMap<String, Member>,
    /// What a client that follows every publication shows, and one that joined later.
    follower: CountsView,
    joiner: Option<CountsView>,
    counts_at: Option<u64>,
    presence_at: Option<u64>,
}

impl Model {
    fn stand(&mut self, connection: u64, user: Option<(u8, u8, u8)>) {
        self.connections.insert(connection, user.map(|u| u.0));
        if let Some((user, name, index)) = user {
            let Profile { id, name, avatar } = (*profile(user, name)).clone();
            let member = Member {
                id,
                name,
                avatar,
                role: role(index),
            };
            self.users.insert(user, member);
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        let here: BTreeSet<u8> = self.connections.values().flatten().copied().collect();
        self.users.retain(|user, _| here.contains(user));
    }

    fn members(&self) -> Vec<Member> {
        self.users.values().cloned().collect()
    }
}

struct Room {
    presence: Presence,
    counts: Counts,
    model: Model,
    now: u64,
}

impl Room {
    fn apply(&mut self, op: Op) {
        let as_user = |(user, name, index)| (profile(user, name), role(index));
        match op {
            Op::Enter(connection, user) => {
                self.presence.enter(connection, user.map(as_user));
                self.model.stand(connection, user);
            }
            Op::SignIn(connection, user) => {
                let (profile, role) = as_user(user);
                let present = self.model.connections.contains_key(&connection);
                assert_eq!(self.presence.sign_in(connection, profile, role), present);
                if present {
                    self.model.stand(connection, Some(user));
                }
            }
            Op::Leave(connection) => {
                let was = self.model.connections.remove(&connection).is_some();
                assert_eq!(self.presence.leave(connection), was);
                self.model.sweep();
            }
            Op::SetRole(user, index) => {
                let here = self.model.users.get_mut(&user);
                let known = profile(user, 0);
                assert_eq!(self.presence.set_role(&known.id, role(index)), here.is_some());
                if let Some(member) = here {
                    member.role = role(index);
                }
            }
            Op::Like(name, n) => {
                let name = format!("c{name}");
                let value = self.model.likes.entry(name.clone()).or_default();
                *value += n;
                assert_eq!(self.counts.add(&name, n), *value);
                assert_eq!(self.counts.counter(&name), *value);
            }
            Op::Wait(ms) => self.now += ms,
            Op::Join => {
                let shown = self.counts.snapshot();
                assert_eq!(shown.version, self.model.follower.version);
                self.model.joiner = Some(shown);
            }
        }
        self.counts
            .set_present(self.presence.viewers(), self.presence.members());
    }

    fn check_state(&self) {
        let view = self.counts.view();
        assert_eq!(view.viewers, self.model.connections.len() as u64);
        assert_eq!(view.members, self.model.users.len() as u64);
        assert_eq!(view.counters, self.model.likes);
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let (page, total, next) = self.presence.page(cursor.as_deref(), 2);
            assert!(page.len() <= 2 && total == view.members);
            listed.extend(page);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, self.model.members());
    }

    /// Publishes what is due and holds it against what followers know.
    fn publish(&mut self) {
        let (view, follower) = (self.counts.view(), &self.model.follower);
        let zero = |c: &CountsView| (c.viewers == 0, c.members == 0);
        let joiner_off = self.model.joiner.as_ref().is_some_and(|j| !same(j, &view));
        let differs = !same(&view, follower);
        let at_once = zero(&view) != zero(follower);
        let rested = self
            .model
            .counts_at
            .is_none_or(|at| self.now >= at + u64::from(INTERVAL_MS));
        let taken = self.counts.take(self.now);
        if at_once || (rested && (differs || joiner_off)) {
            let taken = taken.expect("due");
            assert!(same(&taken, &view));
            assert_eq!(taken.version, follower.version + 1);
            self.model.follower = taken.clone();
            self.model.joiner = self.model.joiner.take().map(|_| taken);
            self.model.counts_at = Some(self.now);
        } else if let Some(taken) = taken {
            // Only for a snapshot whose values were undone and came again: harmless, and never too early.
            assert!(rested && self.model.joiner.is_some() && same(&taken, &view));
            (self.model.follower, self.model.counts_at) = (taken, Some(self.now));
        }
        let Some(delta) = self.presence.take(self.now) else {
            return;
        };
        assert!(
            self.model
                .presence_at
                .is_none_or(|at| self.now >= at + u64::from(INTERVAL_MS))
        );
        self.model.presence_at = Some(self.now);
        assert!(!delta.reset && delta.joined.len() + delta.left.len() > 0);
        for member in delta.joined {
            let before = self
                .model
                .told_members
                .insert(member.id.to_string(), member.clone());
            assert_ne!(before, Some(member), "nothing is told twice");
        }
        for user in delta.left {
            assert!(self.model.told_members.remove(user.as_str()).is_some());
        }
    }
}

fn same(a: &CountsView, b: &CountsView) -> bool {
    let named = |c: &CountsView| -> Vec<(String, u64)> {
        c.counters
            .iter()
            .filter(|(_, v)| **v > 0)
            .map(|(k, v)| (k.clone(), *v))
            .collect()
    };
    (a.viewers, a.members, named(a)) == (b.viewers, b.members, named(b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn followers_end_where_the_room_is(ops in prop::collection::vec((op(), any::<bool>()), 1..120)) {
        let mut room = Room {
            presence: Presence::new(INTERVAL_MS),
            counts: Counts::new(INTERVAL_MS),
            model: Model::default(),
            now: 5_000,
        };
        for (op, publish) in ops {
            room.apply(op);
            room.check_state();
            if publish {
                room.publish();
            }
        }
        let settle = |room: &mut Room| {
            room.now += 1_000;
            room.publish();
            assert!(same(&room.model.follower, &room.counts.view()));
            if let Some(joiner) = &room.model.joiner {
                assert!(same(joiner, &room.counts.view()), "whoever joined ends there too");
            }
            let told: Vec<Member> = room.model.told_members.values().cloned().collect();
            assert_eq!(told, room.model.members());
            assert_eq!((room.counts.due(), room.presence.due()), (None, None));
        };
        settle(&mut room);
        for connection in 0..8 {
            room.apply(Op::Leave(connection));
        }
        prop_assert!(room.presence.is_empty());
        prop_assert_eq!((room.counts.view().viewers, room.counts.view().members), (0, 0));
        settle(&mut room);
    }
}

#[test]
fn a_change_that_is_undone_is_not_told_but_to_who_saw_it() {
    let mut counts = Counts::new(INTERVAL_MS);
    counts.set_present(2, 0);
    assert_eq!(counts.take(1_000).map(|c| (c.version, c.viewers)), Some((1, 2)));
    counts.set_present(3, 0);
    assert_eq!(counts.due(), Some(1_200));
    counts.set_present(2, 0);
    assert_eq!((counts.due(), counts.take(9_000)), (None, None));

    counts.set_present(3, 0);
    let seen = counts.snapshot();
    assert_eq!((seen.version, seen.viewers), (1, 3));
    counts.set_present(2, 0);
    assert_eq!(counts.take(9_000).map(|c| (c.version, c.viewers)), Some((2, 2)));
    assert_eq!(counts.snapshot().version, 2);
    assert_eq!(counts.due(), None, "a snapshot of what is published adds nothing");
}

#[test]
fn the_first_and_the_last_are_told_at_once() {
    let mut counts = Counts::new(INTERVAL_MS);
    counts.set_present(1, 0);
    assert!(counts.take(1_000).is_some());
    counts.set_present(2, 0);
    assert!(counts.take(1_050).is_none(), "not before the interval");
    counts.set_present(2, 1);
    assert!(counts.take(1_060).is_some(), "the first member");
    counts.set_present(1, 1);
    assert_eq!((counts.take(1_259), counts.due()), (None, Some(1_260)));
    counts.set_present(0, 0);
    assert!(counts.take(1_100).is_some(), "the last viewer");
    assert_eq!(counts.take(5_000), None);
}

#[test]
fn counters_stop_at_the_top() {
    let mut counts = Counts::new(INTERVAL_MS);
    assert_eq!(counts.add("likes", u64::MAX - 1), u64::MAX - 1);
    assert_eq!(counts.add("likes", 5), u64::MAX);
    assert_eq!(counts.view().counters["likes"], u64::MAX);
}

#[test]
fn many_changes_become_a_reset() {
    let mut presence = Presence::new(INTERVAL_MS);
    let enter =
        |presence: &mut Presence, n: u8| presence.enter(n.into(), Some((profile(n, 0), Role::Member)));
    (0..64).for_each(|n| enter(&mut presence, n));
    let delta = presence.take(1_000).unwrap();
    assert_eq!((delta.joined.len(), delta.reset), (64, false));
    (64..129).for_each(|n| enter(&mut presence, n));
    assert_eq!((presence.take(1_199), presence.due()), (None, Some(1_200)));
    let delta = presence.take(1_200).unwrap();
    assert_eq!(
        delta,
        PresenceDelta {
            reset: true,
            ..PresenceDelta::default()
        }
    );
    presence.leave(3);
    let delta = presence.take(1_400).unwrap();
    assert_eq!(
        (delta.left.len(), delta.reset),
        (1, false),
        "told apart again after a reset"
    );
}

#[test]
fn pages_go_on_behind_a_user_who_left() {
    let mut presence = Presence::new(INTERVAL_MS);
    for n in 0..5 {
        presence.enter(n.into(), Some((profile(n, 0), Role::Member)));
    }
    let (_, _, cursor) = presence.page(None, 2);
    assert_eq!(cursor.as_deref(), Some("user001"));
    presence.leave(1);
    let (page, total, cursor) = presence.page(cursor.as_deref(), 9);
    assert_eq!(
        (page.len(), page[0].id.as_str(), total, cursor),
        (3, "user002", 4, None)
    );
    assert_eq!(presence.page(None, 0).0.len(), 1);
}
