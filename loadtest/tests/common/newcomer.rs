//! Wrong done to who has just joined: a fault whose extent is known however long a visit takes.

use countersign_protocol::codec::text_frame;
use countersign_protocol::id::RoomName;
use countersign_protocol::server::GapPush;

/// Messages after a join that are not as they should be.
const MESSAGES: u64 = 3;

/// What becomes of a newcomer's first three messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// None arrives, and nothing is said.
    Lost,
    /// None arrives, and a `gap` says so.
    Told,
    /// Each arrives twice.
    Repeated,
    /// The first arrives after the third.
    Late,
}

/// One who joined.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// Which join of all this was.
    join: u64,
    /// Messages of the room since.
    heard: u64,
    held: Vec<u8>,
}

impl Newcomer {
    pub(crate) fn new(join: u64) -> Newcomer {
        Newcomer {
            join,
            heard: 0,
            held: Vec::new(),
        }
    }

    /// What one of every `n` gets in place of `plain`, while it is new, and how many messages that does wrong.
    pub(crate) fn planted(
        &mut self,
        n: u64,
        wrong: Wrong,
        (room, offset): (&str, u64),
        plain: &[u8],
    ) -> Option<(Vec<u8>, u64)> {
        self.heard += 1;
        if !self.join.is_multiple_of(n) || self.heard > MESSAGES {
            return None;
        }
        let last = self.heard == MESSAGES;
        Some(match wrong {
            Wrong::Lost => (Vec::new(), 1),
            Wrong::Repeated => ([plain, plain].concat(), 1),
            Wrong::Told if last => {
                let gap = GapPush {
                    room: RoomName::parse(room).unwrap(),
                    from: offset + 1 - MESSAGES,
                    to: offset,
                };
                (text_frame(&gap), MESSAGES)
            }
            Wrong::Told => (Vec::new(), 0),
            Wrong::Late if self.heard == 1 => {
                self.held = plain.to_vec();
                (Vec::new(), 0)
            }
            Wrong::Late if last => ([plain, &std::mem::take(&mut self.held)].concat(), 1),
            Wrong::Late => (plain.to_vec(), 0),
        })
    }
}
