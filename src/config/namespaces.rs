//! Namespaces: what rooms there may be, and what they allow.

use std::collections::BTreeMap;

use super::reader::{Reader, read_settings};
use super::settings::{Settings, settings};
use super::value::{Kind, Value, Written};

/// From which the others inherit.
const DEFAULT: &str = "default";
/// Those that there are in any case.
const BUILT_IN: [&str; 3] = [DEFAULT, "chat", LIVE];
const LIVE: &str = "live";
/// Most namespaces.
pub const NAMESPACES_MAX: usize = 1_000;
/// Most counters of a namespace.
pub const COUNTERS_MAX: usize = 16;
/// Longest name of a counter, bytes.
pub const COUNTER_BYTES_MAX: usize = 32;

settings! {
    /// What a namespace allows.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Namespace {
        create_on_join: bool = true, "", Free,
            "whether joining creates a room; for `live` `false`, unless it says otherwise itself";
        anonymous: bool = true, "", Free,
            "whether one may join without signing in";
        counters: Vec<String> = vec!["likes".into()], "", Form("at most 16 names of 1 to 32 letters, digits, `_`"),
            "counters that clients may raise";
    }
}

/// Namespaces by name.
pub type Namespaces = BTreeMap<String, Namespace>;

/// Those there are without any configuration.
pub(super) fn built_in() -> Namespaces {
    inheriting(&Namespace::default())
}

/// The built-in ones, with what they do not set themselves from `default`.
fn inheriting(default: &Namespace) -> Namespaces {
    BUILT_IN
        .map(|name| (name.to_owned(), before_its_own(name, default)))
        .into()
}

/// A namespace before what is written for it. Rooms of `live` are broadcasts: they begin with a broadcaster, not with
/// the first viewer.
fn before_its_own(name: &str, default: &Namespace) -> Namespace {
    Namespace {
        create_on_join: default.create_on_join && name != LIVE,
        ..default.clone()
    }
}

impl Value for Namespaces {
    fn kind(&self) -> Kind {
        Kind::Table
    }
    /// `default` first, as the others inherit from it; it inherits from the built-in one.
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        let Some(table) = value.get_ref().as_table() else {
            reader.wrong_kind(value, self.kind());
            return;
        };
        let mut default = Namespace::default();
        if let Some((key, written)) = table.iter().find(|(key, _)| key.get_ref() == DEFAULT) {
            reader.below(".default", key.span(), |reader| {
                read_settings(&mut default, written, reader);
            });
        }
        let mut all = inheriting(&default);
        for (key, written) in table.iter().filter(|(key, _)| key.get_ref() != DEFAULT) {
            let name = key.get_ref().as_ref();
            let mut namespace = before_its_own(name, &default);
            reader.below(&format!(".{name}"), key.span(), |reader| {
                read_settings(&mut namespace, written, reader);
            });
            all.insert(name.to_owned(), namespace);
        }
        *self = all;
    }
    fn shown(&self) -> Option<String> {
        None
    }
    fn one_of_many(&self) -> Option<Box<dyn Settings>> {
        Some(Box::new(Namespace::default()))
    }
}

/// What is wrong with namespaces: the setting, and a sentence.
pub(super) fn problems(namespaces: &Namespaces) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    if namespaces.len() > NAMESPACES_MAX {
        let told = format!(
            "namespaces: at most {NAMESPACES_MAX}, and there are {}",
            namespaces.len()
        );
        problems.push(("namespaces".to_owned(), told));
    }
    let sound = |counter: &String| {
        (1..=COUNTER_BYTES_MAX).contains(&counter.len())
            && counter.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    for (name, namespace) in namespaces {
        let room = countersign_protocol::RoomName::parse(&format!("{name}:x"));
        if !room.is_ok_and(|room| room.namespace() == name) {
            let path = format!("namespaces.{name}");
            let told = format!("{path}: a namespace is made of A-Z a-z 0-9 _ . @ - and is not . or ..");
            problems.push((path, told));
        }
        if namespace.counters.len() > COUNTERS_MAX || !namespace.counters.iter().all(sound) {
            let path = format!("namespaces.{name}.counters");
            let told = format!(
                "{path}: at most {COUNTERS_MAX} names of 1 to {COUNTER_BYTES_MAX} letters, digits and _"
            );
            problems.push((path, told));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn namespaces_are_added_and_inherit_from_default() {
        let read = |text: &str| Config::from_toml(text).unwrap().namespaces;
        let all = read("[namespaces.game]\n[namespaces.chat]\nanonymous = false");
        let names: Vec<_> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["chat", "default", "game", "live"]);
        assert!(!all["chat"].anonymous && all["default"].anonymous && all["game"].anonymous);
        assert!(!all["live"].create_on_join && all["game"].create_on_join);

        let all = read(
            "[namespaces.default]\nanonymous = false\ncounters = [\"hearts\"]\n\
             [namespaces.live]\ncounters = [\"likes\"]\n[namespaces.game]\nanonymous = true",
        );
        for (name, create, anonymous, counter) in [
            ("default", true, false, "hearts"),
            ("chat", true, false, "hearts"),
            ("live", false, false, "likes"),
            ("game", true, true, "hearts"),
        ] {
            let namespace = &all[name];
            assert_eq!(
                (
                    namespace.create_on_join,
                    namespace.anonymous,
                    namespace.counters[0].as_str()
                ),
                (create, anonymous, counter),
                "{name}"
            );
        }
        assert!(read("[namespaces.live]\ncreate_on_join = true")["live"].create_on_join);
        assert!(!read("[namespaces.default]\ncreate_on_join = false")["chat"].create_on_join);
    }
}
