//! How settings are described: one row each, which is the field, its default and everything that the documents say of
//! it. What reads, checks and documents the configuration walks these rows.

use super::value::Value;

/// What is known of a setting beside its value.
#[derive(Debug)]
pub struct Row {
    /// As it is written in a file, below its table.
    pub name: &'static str,
    /// Of a number: `ms`, `bytes`, what is counted. Empty where there is none.
    pub unit: &'static str,
    pub bound: Bound,
    /// What it does, as documents say it.
    pub what: &'static str,
    /// A value as it is written in a file, for what has no default.
    pub example: Option<&'static str>,
    pub marks: &'static [Mark],
}

impl Row {
    /// Whether it has a mark.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks.contains(&mark)
    }
}

/// What values are allowed.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// Numbers from the first to the last.
    Within(u64, u64),
    /// As the sentence says; a check of its own looks.
    Form(&'static str),
    /// Whatever the kind of value allows.
    Free,
}

/// What is special about a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The profile `bench` multiplies it by a thousand.
    Scaled,
    /// Its value is never printed, and it is no flag, as others on the machine can read those.
    Secret,
    /// Its flag is listed by `--help`.
    Listed,
}

/// A table of settings.
pub(super) trait Settings {
    /// One for each field, in the order of the documents.
    fn rows(&self) -> &'static [Row];
    /// The value of a row by its name.
    fn value(&self, name: &str) -> Option<&dyn Value>;
    /// The same, to change it.
    fn value_mut(&mut self, name: &str) -> Option<&mut dyn Value>;
}

/// Makes a table of settings: `field: Type = default, unit, bound, "what it does";`, then perhaps marks in brackets, and
/// an example after `like`. It is the struct, its `Default` and its [`Row`]s.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $field:ident : $type:ty = $default:expr, $unit:literal, $bound:expr, $what:literal
                $([ $($mark:ident),* ])? $(like $example:literal)? ;
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $( #[doc = $what] pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::settings::Settings for $name {
            fn rows(&self) -> &'static [$crate::config::settings::Row] {
                #[allow(unused_imports, reason = "not every table uses each")]
                use $crate::config::settings::Bound::{Form, Free, Within};
                const ROWS: &[$crate::config::settings::Row] = &[
                    $( $crate::config::settings::Row {
                        name: stringify!($field),
                        unit: $unit,
                        bound: $bound,
                        what: $what,
                        example: $crate::config::settings::settings!(@example $($example)?),
                        marks: &[ $( $( $crate::config::settings::Mark::$mark, )* )? ],
                    }, )*
                ];
                ROWS
            }
            fn value(&self, name: &str) -> Option<&dyn $crate::config::value::Value> {
                match name {
                    $( stringify!($field) => Some(&self.$field), )*
                    _ => None,
                }
            }
            fn value_mut(&mut self, name: &str) -> Option<&mut dyn $crate::config::value::Value> {
                match name {
                    $( stringify!($field) => Some(&mut self.$field), )*
                    _ => None,
                }
            }
        }
    };
    (@example) => { None };
    (@example $example:literal) => { Some($example) };
}

/// Makes tables of settings the values of rows of another: tables of a file.
macro_rules! tables {
    ($($name:ty),*) => {
        $( impl $crate::config::value::Value for $name {
            fn kind(&self) -> $crate::config::value::Kind {
                $crate::config::value::Kind::Table
            }
            fn read(&mut self, value: &$crate::config::value::Written<'_>, reader: &mut $crate::config::reader::Reader) {
                $crate::config::reader::read_settings(self, value, reader);
            }
            fn shown(&self) -> Option<String> {
                None
            }
            fn settings(&self) -> Option<&dyn $crate::config::settings::Settings> {
                Some(self)
            }
            fn settings_mut(&mut self) -> Option<&mut dyn $crate::config::settings::Settings> {
                Some(self)
            }
        } )*
    };
}

pub(super) use {settings, tables};
