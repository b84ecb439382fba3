//! What one side shows and the other types: two digits, or the user code of a device authorization.

use std::fmt;

use countersign_protocol::oauth::{USER_CODE_CHARS, USER_CODE_LETTERS};
use countersign_protocol::server::MatchForm;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The two digits of the number match, 00 to 99.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Digits(u8);

impl Digits {
    /// `None` above 99. The caller draws the value evenly from 0 to 99.
    pub fn new(value: u8) -> Option<Self> {
        (value <= 99).then_some(Self(value))
    }

    /// As shown: always two characters.
    pub fn text(self) -> String {
        format!("{:02}", self.0)
    }

    /// Whether exactly these two characters were typed; constant time for two characters.
    pub fn is(self, typed: &str) -> bool {
        let shown = [b'0' + self.0 / 10, b'0' + self.0 % 10];
        shown.as_slice().ct_eq(typed.as_bytes()).into()
    }
}

impl TryFrom<u8> for Digits {
    type Error = &'static str;
    fn try_from(value: u8) -> Result<Self, Self::Error> {
        Self::new(value).ok_or("two digits are 0 to 99")
    }
}

impl From<Digits> for u8 {
    fn from(digits: Digits) -> Self {
        digits.0
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digits(…)")
    }
}

/// What one side shows and the other types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Digits(Digits),
    UserCode(UserCode),
}

impl Code {
    /// As shown.
    pub fn text(self) -> String {
        match self {
            Self::Digits(digits) => digits.text(),
            Self::UserCode(code) => code.text(),
        }
    }

    /// Whether this was typed.
    pub fn is(self, typed: &str) -> bool {
        match self {
            Self::Digits(digits) => digits.is(typed),
            Self::UserCode(code) => code.is(typed),
        }
    }

    /// What it looks like, for who types it.
    pub const fn form(self) -> MatchForm {
        match self {
            Self::Digits(_) => MatchForm::Digits,
            Self::UserCode(_) => MatchForm::UserCode,
        }
    }
}

/// The code of a device authorization (RFC 8628 §6.1): eight letters that its device shows and a phone types.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserCode([u8; USER_CODE_CHARS]);

impl UserCode {
    /// The code with these letters, each a number below 20 that the caller draws evenly. `None` above.
    pub fn new(letters: [u8; USER_CODE_CHARS]) -> Option<Self> {
        let mut code = [0; USER_CODE_CHARS];
        for (to, at) in code.iter_mut().zip(letters) {
            *to = *USER_CODE_LETTERS.get(usize::from(at))?;
        }
        Some(Self(code))
    }

    /// Reads what was typed: letters of either case; spaces, hyphens and what looks like them between them do not
    /// matter. `None`: it can be no code.
    pub fn parse(typed: &str) -> Option<Self> {
        let mut code = [0; USER_CODE_CHARS];
        let mut letters = typed.chars().filter(|c| c.is_alphanumeric());
        // More than that is no code with something between its letters.
        if typed.len() > 8 * USER_CODE_CHARS {
            return None;
        }
        for to in &mut code {
            let letter = u8::try_from(letters.next()?).ok()?.to_ascii_uppercase();
            *to = *USER_CODE_LETTERS.iter().find(|known| **known == letter)?;
        }
        letters.next().is_none().then_some(Self(code))
    }

    /// As shown: `XXXX-XXXX`.
    pub fn text(self) -> String {
        let mut text: String = self.0.iter().map(|letter| char::from(*letter)).collect();
        text.insert(USER_CODE_CHARS / 2, '-');
        text
    }

    /// Whether this was typed; constant time for what reads as a code.
    pub fn is(self, typed: &str) -> bool {
        Self::parse(typed).is_some_and(|typed| typed.0.ct_eq(&self.0).into())
    }
}

impl TryFrom<String> for UserCode {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a user code is eight letters of BCDFGHJKLMNPQRSTVWXZ")
    }
}

impl From<UserCode> for String {
    fn from(code: UserCode) -> Self {
        code.text()
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_read_as_people_type_it() {
        let code = UserCode::new([0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        assert_eq!(code.text(), "BCDF-GHJK");
        for typed in [
            "BCDF-GHJK",
            "bcdfghjk",
            " bcdf ghjk ",
            "BCDF\u{2013}GHJK",
            "b-c-d-f.g h j k",
        ] {
            assert!(
                code.is(typed) && UserCode::parse(typed) == Some(code),
                "{typed:?}"
            );
        }
        let long = format!("BCDFGHJK{}", "-".repeat(100));
        for wrong in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "ACDF-GHJK",
            "BCDF-GHJ1",
            "BCDF-GHJ\u{212A}",
            "\u{FF22}CDF-GHJK",
            &long,
        ] {
            assert!(!code.is(wrong) && UserCode::parse(wrong).is_none(), "{wrong:?}");
        }
        assert!(!code.is("BCDF-GHJL"));
        assert_eq!(UserCode::new([20, 0, 0, 0, 0, 0, 0, 0]), None);
        let stored = serde_json::to_string(&code).unwrap();
        assert_eq!(serde_json::from_str::<UserCode>(&stored).unwrap(), code);
        assert_eq!(format!("{code:?}"), "UserCode(…)");
    }
}
