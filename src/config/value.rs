//! What the value of a setting can be: how it is read, and how it is written in a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::reader::Reader;
use super::settings::Settings;

/// A value as it was written, with where.
pub(super) type Written<'i> = Spanned<DeValue<'i>>;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Switch,
    Text,
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// A rate in braces.
    Rate,
    /// A table, or a list of them.
    Table,
}

impl Kind {
    /// What has to be written.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Number => "a whole number",
            Self::Switch => "true or false",
            Self::Text | Self::Choice(_) => "text in quotes",
            Self::List | Self::Choices(_) => "a list of texts in quotes",
            Self::Rate => "{ count = …, period_ms = …, burst = … }",
            Self::Table => "a table",
        }
    }

    /// A value of this kind from the environment or a flag: text as it stands, lists by commas, anything else as in a
    /// file. What cannot be read that way is text, and refused as such.
    pub(super) fn written(self, text: &str) -> Written<'_> {
        let plain = |text: &str| DeValue::String(text.to_owned().into());
        let toml = || DeValue::parse(text.trim()).map(Spanned::into_inner);
        let value = match self {
            Self::Text | Self::Choice(_) => plain(text),
            Self::List | Self::Choices(_) if text.trim_start().starts_with('[') => {
                toml().unwrap_or_else(|_| plain(text))
            }
            Self::List | Self::Choices(_) => {
                let mut list = DeArray::new();
                for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
                    list.push(Spanned::new(0..0, plain(item)));
                }
                DeValue::Array(list)
            }
            Self::Number | Self::Switch | Self::Rate | Self::Table => toml().unwrap_or_else(|_| plain(text)),
        };
        Spanned::new(0..0, value)
    }
}

/// The value of a setting.
pub(super) trait Value {
    fn kind(&self) -> Kind;
    /// Takes what was written, or leaves itself as it is and tells the reader why.
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader);
    /// As it is written in a file; `None`: not at all.
    fn shown(&self) -> Option<String>;
    /// The number it is, for bounds.
    fn number(&self) -> Option<u64> {
        None
    }
    /// What is below it.
    fn settings(&self) -> Option<&dyn Settings> {
        None
    }
    fn settings_mut(&mut self) -> Option<&mut dyn Settings> {
        None
    }
    /// One of the tables that it has any number of, by whatever name.
    fn one_of_many(&self) -> Option<Box<dyn Settings>> {
        None
    }
    /// What is wrong with it, to go on after its name, beyond the bound of its row.
    fn unsound(&self) -> Option<String> {
        None
    }
    /// Multiplies it by a thousand.
    fn scale(&mut self) {}
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $( impl Value for $type {
            fn kind(&self) -> Kind {
                Kind::Number
            }
            fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
                match number(value.get_ref()).map(Self::try_from) {
                    Some(Ok(number)) => *self = number,
                    Some(Err(_)) => reader.fault(value, "is too large"),
                    None => reader.wrong_kind(value, self.kind()),
                }
            }
            fn shown(&self) -> Option<String> {
                Some(self.to_string())
            }
            fn number(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }
            fn scale(&mut self) {
                *self = self.saturating_mul(Self::try_from(1_000_u32).unwrap_or(Self::MAX));
            }
        } )*
    };
}

numbers!(u8, u32, u64, usize);

/// A whole number that is not below zero.
pub(super) fn number(value: &DeValue<'_>) -> Option<u128> {
    let integer = value.as_integer()?;
    u128::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix()).ok()
}

impl Value for bool {
    fn kind(&self) -> Kind {
        Kind::Switch
    }
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        match value.get_ref().as_bool() {
            Some(read) => *self = read,
            None => reader.wrong_kind(value, self.kind()),
        }
    }
    fn shown(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A text that is read as a whole.
pub(super) trait Text: Sized {
    /// # Errors
    /// What has to be written.
    fn of(text: &str) -> Result<Self, String>;
    fn text(&self) -> String;
}

impl Text for String {
    fn of(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn text(&self) -> String {
        self.clone()
    }
}

impl Text for PathBuf {
    fn of(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is no path".into());
        }
        Ok(text.into())
    }
    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Text for SocketAddr {
    fn of(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is no address and port, such as 127.0.0.1:8080 or [::1]:8080"))
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

pub(super) fn read_text<T: Text>(value: &Written<'_>, reader: &mut Reader) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        reader.wrong_kind(value, Kind::Text);
        return None;
    };
    T::of(text).map_err(|told| reader.fault(value, &told)).ok()
}

/// As a file has it.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

macro_rules! texts {
    ($($type:ty),*) => {
        $( impl Value for $type {
            fn kind(&self) -> Kind {
                Kind::Text
            }
            fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
                if let Some(read) = read_text(value, reader) {
                    *self = read;
                }
            }
            fn shown(&self) -> Option<String> {
                Some(quoted(&self.text()))
            }
        } )*
    };
}

texts!(String, SocketAddr);

impl<T: Text> Value for Option<T> {
    fn kind(&self) -> Kind {
        Kind::Text
    }
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        if let Some(read) = read_text(value, reader) {
            *self = Some(read);
        }
    }
    fn shown(&self) -> Option<String> {
        self.as_ref().map(|text| quoted(&text.text()))
    }
}

/// One of a few words.
pub(super) trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
    const NAMES: &'static [&'static str];

    fn name(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, word)| *word == self);
        found.map_or("", |(name, _)| name)
    }

    fn of(value: &Written<'_>, reader: &mut Reader) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            reader.wrong_kind(value, Kind::Text);
            return None;
        };
        let found = Self::WORDS.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            reader.unknown_word(value, text, Self::NAMES);
        }
        found.map(|(_, word)| *word)
    }
}

/// Names the words that a setting can be.
macro_rules! words {
    ($type:ty { $( $name:literal => $word:path ),* $(,)? }) => {
        impl $crate::config::value::Word for $type {
            const WORDS: &'static [(&'static str, Self)] = &[ $( ($name, $word) ),* ];
            const NAMES: &'static [&'static str] = &[ $( $name ),* ];
        }
        impl $crate::config::value::Value for $type {
            fn kind(&self) -> $crate::config::value::Kind {
                $crate::config::value::Kind::Choice(<Self as $crate::config::value::Word>::NAMES)
            }
            fn read(&mut self, value: &$crate::config::value::Written<'_>, reader: &mut $crate::config::reader::Reader) {
                if let Some(read) = <Self as $crate::config::value::Word>::of(value, reader) {
                    *self = read;
                }
            }
            fn shown(&self) -> Option<String> {
                Some($crate::config::value::quoted($crate::config::value::Word::name(*self)))
            }
        }
    };
}

pub(super) use words;

/// Reads a list item by item; `None` when one of them is wrong.
pub(super) fn read_list<T>(
    value: &Written<'_>,
    reader: &mut Reader,
    mut item: impl FnMut(&Written<'_>, &mut Reader) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(list) = value.get_ref().as_array() else {
        reader.wrong_kind(value, Kind::List);
        return None;
    };
    let read: Vec<Option<T>> = list.iter().map(|written| item(written, reader)).collect();
    read.into_iter().collect()
}

fn shown_list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

impl Value for Vec<String> {
    fn kind(&self) -> Kind {
        Kind::List
    }
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        if let Some(read) = read_list(value, reader, read_text) {
            *self = read;
        }
    }
    fn shown(&self) -> Option<String> {
        Some(shown_list(self.iter().map(|text| quoted(text))))
    }
}

impl<T: Word> Value for Vec<T> {
    fn kind(&self) -> Kind {
        Kind::Choices(T::NAMES)
    }
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        if let Some(read) = read_list(value, reader, T::of) {
            *self = read;
        }
    }
    fn shown(&self) -> Option<String> {
        Some(shown_list(self.iter().map(|word| quoted(word.name()))))
    }
}
