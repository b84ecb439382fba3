//! What holds for every JSON object that comes from outside, a command's or a request's: no key twice, not too many
//! of them, and nothing nested too deep. Known keys or not: two readers of one text must not differ in what it says.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits;

const TWICE: &str = "a key appears twice";
const TOO_MANY: &str = "more than 32 keys";
const TOO_DEEP: &str = "nested deeper than 16";

/// Why a text is no object that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsound {
    /// It is no JSON.
    NotJson,
    /// It is something else than an object.
    NotAnObject,
    /// It breaks this rule of the contract.
    Rule(&'static str),
}

/// Looks an object over before it is read: at most [`limits::COMMAND_KEYS_MAX`] keys of its own, none of them twice,
/// nothing deeper than [`limits::DEPTH_MAX`]. Needs no stack for what is nested.
///
/// # Errors
/// [`Unsound`], by which whoever sent it is told.
pub fn check(text: &str) -> Result<(), Unsound> {
    let Outline(problem) = serde_json::from_str(text).map_err(|e| match e.is_data() {
        true => Unsound::NotAnObject,
        false => Unsound::NotJson,
    })?;
    too_deep(text)
        .or(problem)
        .map_or(Ok(()), |rule| Err(Unsound::Rule(rule)))
}

/// The rule that `text`, which is known to be JSON, breaks by its depth.
#[inline]
pub(crate) fn too_deep(text: &str) -> Option<&'static str> {
    (opening(text) > limits::DEPTH_MAX && depth(text) > limits::DEPTH_MAX).then_some(TOO_DEEP)
}

/// How many brackets open anywhere, strings included: no nesting is deeper. Counted without a branch, many bytes at
/// a time, so that the walk of [`depth`] is spared where it can find nothing.
fn opening(text: &str) -> usize {
    text.bytes().filter(|b| matches!(b, b'{' | b'[')).count()
}

/// The deepest nesting of brackets outside strings, for text that is known to be JSON. Reading the keys
/// before this needs no stack: values that are skipped are skipped by iteration.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for b in text.bytes() {
        if in_string {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match b {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A string borrowed from its text unless it had escapes.
#[derive(PartialEq, Deserialize)]
pub(crate) struct Key<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The keys of one object as they come.
pub(crate) struct Keys<'a> {
    seen: Vec<Key<'a>>,
    problem: Option<&'static str>,
}

impl<'a> Keys<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            seen: Vec::with_capacity(8),
            problem: None,
        }
    }

    /// One more. Of those beyond [`limits::COMMAND_KEYS_MAX`] nothing is kept.
    #[inline]
    pub(crate) fn add(&mut self, key: Key<'a>) {
        if self.seen.contains(&key) {
            self.problem = Some(TWICE);
        }
        if self.seen.len() < limits::COMMAND_KEYS_MAX {
            self.seen.push(key);
        } else {
            self.problem = Some(TOO_MANY);
        }
    }

    /// The rule that they break.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        self.problem
    }
}

/// The rule that an object's own keys break.
struct Outline(Option<&'static str>);

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OutlineVisitor;

        impl<'de> Visitor<'de> for OutlineVisitor {
            type Value = Outline;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Outline, M::Error> {
                let mut keys = Keys::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    map.next_value::<IgnoredAny>()?;
                    keys.add(key);
                }
                Ok(Outline(keys.problem()))
            }
        }

        d.deserialize_map(OutlineVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_sound_or_told_why_not() {
        for sound in [
            "{}",
            r#" {"a":{"b":1,"b":2},"c":[[]]} "#,
            r#"{"x":"[[[[[[[[[[[[[[[[[[\"[["}"#,
        ] {
            assert_eq!(check(sound), Ok(()), "{sound}");
        }
        for text in ["", "{", "hello", "{} {}", r#"{"a":}"#, "{'a':1}", "\u{feff}{}"] {
            assert_eq!(check(text), Err(Unsound::NotJson), "{text:?}");
        }
        for text in ["[]", "3", "null", "\"{}\"", r#"[{"a":1}]"#] {
            assert_eq!(check(text), Err(Unsound::NotAnObject), "{text}");
        }
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#] {
            assert_eq!(check(text), Err(Unsound::Rule(TWICE)), "{text}");
        }
    }

    #[test]
    fn keys_and_depth_are_bounded() {
        let keys = |n: usize| {
            let all: Vec<_> = (0..n).map(|i| format!("\"k{i}\":0")).collect();
            format!("{{{}}}", all.join(","))
        };
        assert_eq!(check(&keys(limits::COMMAND_KEYS_MAX)), Ok(()));
        let more = keys(limits::COMMAND_KEYS_MAX + 1);
        assert_eq!(check(&more), Err(Unsound::Rule(TOO_MANY)));
        // The object is the first level.
        let nested = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(&nested(limits::DEPTH_MAX - 1)), Ok(()));
        // As deep as a body can be: it is walked, not descended into.
        for deep in [limits::DEPTH_MAX, 40, limits::HTTP_BODY_BYTES_MAX / 2 - 8] {
            assert_eq!(check(&nested(deep)), Err(Unsound::Rule(TOO_DEEP)), "{deep}");
        }
        assert!(TOO_MANY.contains(&limits::COMMAND_KEYS_MAX.to_string()));
        assert!(TOO_DEEP.contains(&limits::DEPTH_MAX.to_string()));
    }
}
