//! Who is in a room: connections, the users they belong to, and what has changed since it was last told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use countersign_protocol::server::{Member, PresencePush, Profile, Role};
use countersign_protocol::{RoomName, UserId};

/// Most users that one publication names; more changes than that become `reset`.
pub const CHANGES_MAX: usize = 64;

/// A user with at least one connection in the room.
#[derive(Debug, Clone)]
struct Here {
    profile: Arc<Profile>,
    role: Role,
    connections: u32,
}

impl Here {
    fn member(&self) -> Member {
        Member {
            id: self.profile.id.clone(),
            name: self.profile.name.clone(),
            avatar: self.profile.avatar.clone(),
            role: self.role,
        }
    }
}

/// What one presence publication says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresenceDelta {
    /// Users who came, or whose name, avatar or role changed; ordered by id.
    pub joined: Vec<Member>,
    /// Users whose last connection left; ordered by id.
    pub left: Vec<UserId>,
    /// Too much has changed to say it: ask for `members`. The lists are empty then.
    pub reset: bool,
}

impl PresenceDelta {
    /// The push that tells it.
    pub fn into_push(self, room: RoomName) -> PresencePush {
        PresencePush {
            room,
            joined: self.joined,
            left: self.left,
            reset: self.reset,
        }
    }
}

/// The connections of one room and their users. Viewers and members are derived from what is here, so they
/// cannot drift: a connection that leaves twice, or never came, changes nothing.
#[derive(Debug, Clone)]
pub struct Presence {
    /// By connection; `None` is anonymous.
    connections: BTreeMap<u64, Option<UserId>>,
    users: BTreeMap<UserId, Here>,
    /// Users who differ from what was last told, with what that was; at most [`CHANGES_MAX`].
    changed: BTreeMap<UserId, Option<Member>>,
    reset: bool,
    /// At least this long between publications, milliseconds.
    interval_ms: u32,
    published_at: u64,
}

impl Presence {
    /// Nobody. `interval_ms` is that of the room's [`Counts`](super::Counts).
    pub const fn new(interval_ms: u32) -> Self {
        Self {
            connections: BTreeMap::new(),
            users: BTreeMap::new(),
            changed: BTreeMap::new(),
            reset: false,
            interval_ms,
            published_at: 0,
        }
    }

    /// Connections in the room.
    pub fn viewers(&self) -> u64 {
        self.connections.len() as u64
    }

    /// Distinct signed-in users in the room.
    pub fn members(&self) -> u64 {
        self.users.len() as u64
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Puts a connection into the room, anonymous or as a user. Entering again is idempotent, and takes
    /// over what has changed: the user, the profile, the role.
    pub fn enter(&mut self, connection: u64, user: Option<(Arc<Profile>, Role)>) {
        let id = user.as_ref().map(|(profile, _)| profile.id.clone());
        // Arrive first: a user who enters again, or by another connection, was never gone.
        if let Some((profile, role)) = user {
            self.arrive(profile, role);
        }
        if let Some(before) = self.connections.insert(connection, id).flatten() {
            self.depart(&before);
        }
    }

    /// Makes an anonymous connection a member. Returns whether the connection is in the room.
    pub fn sign_in(&mut self, connection: u64, profile: Arc<Profile>, role: Role) -> bool {
        let present = self.connections.contains_key(&connection);
        if present {
            self.enter(connection, Some((profile, role)));
        }
        present
    }

    /// Takes a connection out of the room. Returns whether it was there.
    pub fn leave(&mut self, connection: u64) -> bool {
        let Some(user) = self.connections.remove(&connection) else {
            return false;
        };
        if let Some(user) = user {
            self.depart(&user);
        }
        if self.connections.is_empty() {
            // An empty tree keeps its last node, and an empty room may be remembered for long.
            (self.connections, self.users) = (BTreeMap::new(), BTreeMap::new());
        }
        true
    }

    /// Gives a user who is here another role. Returns whether they are here.
    pub fn set_role(&mut self, user: &UserId, role: Role) -> bool {
        let Some(here) = self.users.get_mut(user) else {
            return false;
        };
        let before = here.member();
        here.role = role;
        self.note(user, Some(before));
        true
    }

    /// Members ordered by id, at most `limit` (at least 1) behind `cursor`; their total number; and the
    /// cursor of the next page, `None` at the end. A cursor stays good when its user leaves.
    pub fn page(&self, cursor: Option<&str>, limit: usize) -> (Vec<Member>, u64, Option<String>) {
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.users.range::<str, _>((after, Bound::Unbounded));
        let members: Vec<Member> = rest
            .by_ref()
            .take(limit.max(1))
            .map(|(_, here)| here.member())
            .collect();
        let next = members.last().filter(|_| rest.next().is_some());
        let next = next.map(|last| last.id.to_string());
        (members, self.members(), next)
    }

    /// When the next publication is due, `None` when there is nothing to publish. An instant that has
    /// passed means now.
    pub fn due(&self) -> Option<u64> {
        let differs = self.reset || !self.changed.is_empty();
        differs.then(|| self.published_at.saturating_add(u64::from(self.interval_ms)))
    }

    /// What is to be published, when it is due.
    pub fn take(&mut self, now: u64) -> Option<PresenceDelta> {
        if self.due()? > now {
            return None;
        }
        self.published_at = now;
        let mut delta = PresenceDelta {
            reset: std::mem::take(&mut self.reset),
            ..PresenceDelta::default()
        };
        for user in std::mem::take(&mut self.changed).into_keys() {
            match self.users.get(&user) {
                Some(here) => delta.joined.push(here.member()),
                None => delta.left.push(user),
            }
        }
        Some(delta)
    }

    fn arrive(&mut self, profile: Arc<Profile>, role: Role) {
        let user = profile.id.clone();
        let before = self.users.get(&user);
        let connections = before.map_or(0, |here| here.connections) + 1;
        let before = before.map(Here::member);
        let here = Here {
            profile,
            role,
            connections,
        };
        self.users.insert(user.clone(), here);
        self.note(&user, before);
    }

    fn depart(&mut self, user: &UserId) {
        let Entry::Occupied(mut entry) = self.users.entry(user.clone()) else {
            return;
        };
        if entry.get().connections > 1 {
            entry.get_mut().connections -= 1;
            return;
        }
        let before = entry.remove().member();
        self.note(user, Some(before));
    }

    /// Keeps what was told of a user whose standing has changed from `before`; forgets it when the change
    /// is undone.
    fn note(&mut self, user: &UserId, before: Option<Member>) {
        if self.reset {
            return;
        }
        let now = self.users.get(user).map(Here::member);
        match self.changed.entry(user.clone()) {
            Entry::Occupied(entry) => {
                if *entry.get() == now {
                    entry.remove();
                }
            }
            Entry::Vacant(entry) => {
                if before != now {
                    entry.insert(before);
                }
            }
        }
        if self.changed.len() > CHANGES_MAX {
            self.changed = BTreeMap::new();
            self.reset = true;
        }
    }
}
