//! Names as numbers: a room, user or epoch is kept once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A name's number.
pub(super) type Name = u32;

#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Box<str>, Name>,
    names: Vec<Box<str>>,
}

impl Names {
    pub(super) fn of(&mut self, name: &str) -> Name {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = Name::try_from(self.names.len()).unwrap_or(Name::MAX);
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    pub(super) fn text(&self, name: Name) -> &str {
        self.names.get(name as usize).map_or("?", |name| name)
    }

    pub(super) fn maybe(&self, name: Option<Name>) -> &str {
        name.map_or("nobody", |name| self.text(name))
    }
}

/// A text of which only equality counts, as 64 bits; absent is 0. Two of a million different ones are equal
/// with a chance of 1 in 10 million.
pub(super) fn mark(text: Option<&str>) -> u64 {
    let Some(text) = text else { return 0 };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish().max(1)
}
