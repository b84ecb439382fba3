//! Names that have a grammar. A value of these types has passed it.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// Why a name was refused; the text says what the grammar asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameError(&'static str);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NameError {}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as it travels.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", stringify!($name)))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $name::parse(text)
            }
        }
    };
}

name_type! {
    /// A room, always with its namespace: `chat:lobby`. 1–128 bytes of `[A-Za-z0-9_.:@-]`.
    RoomName
}
name_type! {
    /// A user: 1–64 bytes of `[A-Za-z0-9_.@-]`.
    UserId
}
name_type! {
    /// A device, chosen by the client: 1–128 visible ASCII bytes.
    DeviceId
}

/// The namespace of a room written without a colon.
pub const DEFAULT_NAMESPACE: &str = "default";

impl RoomName {
    /// Reads a room name. Without a colon the namespace is `default`, and the stored name says so.
    ///
    /// # Errors
    /// When the name breaks the grammar; the error text names the rule.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > limits::ROOM_BYTES_MAX {
            return Err(NameError("a room name is 1 to 128 bytes"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:@-".contains(&b);
        if !text.bytes().all(allowed) {
            return Err(NameError("a room name is made of A-Z a-z 0-9 _ . : @ -"));
        }
        let (namespace, name) = text.split_once(':').unwrap_or((DEFAULT_NAMESPACE, text));
        for part in [namespace, name] {
            if matches!(part, "" | "." | "..") {
                return Err(NameError(
                    "namespace and name of a room are neither empty nor . nor ..",
                ));
            }
        }
        if text.contains(':') {
            return Ok(Self(text.into()));
        }
        let full = format!("{namespace}:{name}");
        if full.len() > limits::ROOM_BYTES_MAX {
            return Err(NameError("a room name is 1 to 128 bytes with its namespace"));
        }
        Ok(Self(full.into()))
    }

    /// The part before the first colon.
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or(DEFAULT_NAMESPACE, |(n, _)| n)
    }
}

impl UserId {
    /// Reads a user id.
    ///
    /// # Errors
    /// When it is empty, too long, or has a byte outside the grammar.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > limits::USER_ID_BYTES_MAX {
            return Err(NameError("a user id is 1 to 64 bytes"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.@-".contains(&b);
        if !text.bytes().all(allowed) {
            return Err(NameError("a user id is made of A-Z a-z 0-9 _ . @ -"));
        }
        Ok(Self(text.into()))
    }
}

impl DeviceId {
    /// Reads a device id.
    ///
    /// # Errors
    /// When it is empty, too long, or not visible ASCII.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > limits::DEVICE_ID_BYTES_MAX {
            return Err(NameError("a device id is 1 to 128 bytes"));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NameError("a device id is made of visible ASCII"));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rooms_get_their_namespace() {
        let room = RoomName::parse("lobby").unwrap();
        assert_eq!((room.as_str(), room.namespace()), ("default:lobby", "default"));
        let room = RoomName::parse("a:b:c").unwrap();
        assert_eq!((room.as_str(), room.namespace()), ("a:b:c", "a"));
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "", ":", ":x", "x:", "a:.", "a:..", ".:a", "..:a", ".", "..", "a b", "a\n", "a*", "a>", "é",
            "a/b", "{a}", "a\0",
        ] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(
            RoomName::parse(&"x".repeat(128)).is_err(),
            "namespace makes it too long"
        );
        assert!(RoomName::parse(&format!("a:{}", "x".repeat(126))).is_ok());
        assert!(UserId::parse("a:b").is_err() && UserId::parse(&"u".repeat(65)).is_err());
        assert!(DeviceId::parse("a b").is_err() && DeviceId::parse(&"d".repeat(129)).is_err());
    }

    proptest! {
        /// Two different names never become one: parsing is injective but for the default namespace.
        #[test]
        fn names_do_not_collide(a in "[a-c:.]{1,6}", b in "[a-c:.]{1,6}") {
            if let (Ok(x), Ok(y)) = (RoomName::parse(&a), RoomName::parse(&b)) {
                let full = |t: &str| if t.contains(':') { t.to_owned() } else { format!("default:{t}") };
                prop_assert_eq!(x == y, full(&a) == full(&b));
            }
        }
    }
}
