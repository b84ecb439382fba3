//! A message made ready once and patched in place for each send.

use crate::wire::command::SendCommand;
use crate::wire::stamp::{STAMP_BYTES, Stamp, body};

/// The message of one room, in the words of its dialect.
#[derive(Debug, Clone)]
pub enum Ready {
    /// A `send` command, which has an id besides.
    Command(Box<SendCommand>),
    /// A body with what its dialect puts around it.
    Body { bytes: Vec<u8>, stamp_at: usize },
}

impl Ready {
    /// A body of `body_bytes` between `before` and `after`.
    pub fn around(before: &[u8], body_bytes: usize, after: &[u8]) -> Ready {
        let (text, at) = body(body_bytes);
        Ready::Body {
            bytes: [before, &text, after].concat(),
            stamp_at: before.len() + at,
        }
    }

    /// The message with this stamp.
    pub fn with(&mut self, stamp: &Stamp) -> &[u8] {
        match self {
            Ready::Command(command) => command.with(stamp),
            Ready::Body { bytes, stamp_at } => {
                if let Some(field) = bytes.get_mut(*stamp_at..*stamp_at + STAMP_BYTES) {
                    stamp.write(field);
                }
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stamp::Finder;

    #[test]
    fn a_body_is_stamped_where_it_stands() {
        let mut ready = Ready::around(b"<", 100, b">\r\n");
        for number in [1, 77] {
            let stamp = Stamp {
                run: 5,
                number,
                intended_at: 6,
            };
            let bytes = ready.with(&stamp).to_vec();
            assert_eq!((bytes.len(), bytes[0], &bytes[101..]), (104, b'<', &b">\r\n"[..]));
            assert!(serde_json::from_slice::<serde_json::Value>(&bytes[1..101]).is_ok());
            assert_eq!(Finder::default().find(&bytes), Some(stamp));
        }
    }
}
