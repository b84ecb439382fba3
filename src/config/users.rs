//! Accounts that are there from the start.

use std::collections::BTreeSet;

use countersign_protocol::UserId;

use super::reader::{Reader, read_settings};
use super::settings::{Settings, settings};
use super::value::{Kind, Value, Written};
use crate::auth::password;

/// Most of them: each is compared with all others, and has a place among the accounts.
pub const SEEDED_USERS_MAX: usize = 1_000;

settings! {
    /// An account that is there from the start.
    #[derive(Clone, PartialEq, Eq)]
    pub struct SeededUser {
        id: String = String::new(), "", Form("1 to 64 of `A-Z a-z 0-9 _ . @ -`, each once"),
            "whom they sign in as" like "\"alice\"";
        name: Option<String> = None, "", Free,
            "what others are shown" like "\"Alice\"";
        password_hash: String = String::new(), "", Form("PHC string of Argon2id, with at most 1,048,576 KiB, 16 passes and 16 lanes"),
            "what `countersign hash-password` prints" [Secret]
            like "\"$argon2id$v=19$m=19456,t=2,p=1$YWxpY2VzYWx0YWxpY2VzYQ$hfUE9yXCeFIYhRnXV/vjgIxwFZIa9Z0Phw4uLJhHqWM\"";
    }
}

/// Without the hash: it is what somebody who wants the password starts from.
impl std::fmt::Debug for SeededUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SeededUser({:?})", self.id)
    }
}

impl Value for Vec<SeededUser> {
    fn kind(&self) -> Kind {
        Kind::Table
    }
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        let Some(list) = value.get_ref().as_array() else {
            reader.wrong_kind(value, Kind::Table);
            return;
        };
        self.clear();
        // More are too many already, and are told as such.
        for (at, written) in list.iter().take(SEEDED_USERS_MAX + 1).enumerate() {
            let mut user = SeededUser::default();
            reader.below(&format!("[{at}]"), written.span(), |reader| {
                read_settings(&mut user, written, reader);
            });
            self.push(user);
        }
    }
    fn shown(&self) -> Option<String> {
        None
    }
    fn one_of_many(&self) -> Option<Box<dyn Settings>> {
        Some(Box::new(SeededUser::default()))
    }
}

/// What is wrong with them: the setting, and a sentence.
pub(super) fn problems(users: &[SeededUser], accounts_max: usize) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if users.len() > SEEDED_USERS_MAX {
        let told = format!("accounts.users: at most {SEEDED_USERS_MAX} accounts can be in a configuration");
        problems.push(("accounts.users".to_owned(), told));
    } else if users.len() > accounts_max {
        let told = format!(
            "accounts.users: {} accounts do not fit below limits.accounts_max = {accounts_max}",
            users.len()
        );
        problems.push(("accounts.users".to_owned(), told));
    }
    let mut ids = BTreeSet::new();
    for (at, user) in users.iter().enumerate() {
        let mut tell = |field: &str, told: String| {
            let path = format!("accounts.users[{at}].{field}");
            let told = format!("{path} {told}");
            problems.push((path, told));
        };
        if let Err(wrong) = UserId::parse(&user.id) {
            tell("id", format!("= {:?}: {wrong}", user.id));
        } else if !ids.insert(&user.id) {
            tell("id", format!("= {:?} is there twice", user.id));
        }
        if let Some(wrong) = password::stored_problem(&user.password_hash) {
            let told = format!("{wrong}; `countersign hash-password` makes one");
            tell("password_hash", told);
        }
    }
    problems
}

/// Those whose hash costs something else than the configured cost: who asks can tell by the time that they exist.
pub(super) fn of_another_cost(users: &[SeededUser], memory_kib: u32, iterations: u32) -> Vec<(usize, &str)> {
    let other = |user: &SeededUser| {
        password::stored_cost(&user.password_hash).is_some_and(|cost| cost != (memory_kib, iterations, 1))
    };
    let all = users.iter().enumerate();
    all.filter(|(_, user)| other(user))
        .map(|(at, user)| (at, user.id.as_str()))
        .collect()
}
