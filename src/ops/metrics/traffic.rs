//! What is counted where it happens by those who serve: commands, requests, handshakes, sign-ins. Writing is atomics
//! only.

use countersign_protocol::ErrorCode;
use countersign_protocol::client::{Command, Priority};
use prometheus_client::registry::Registry;

use super::catalog;
use super::series::Counts;
use crate::tally::Tally;
use crate::tally::parts::{self, Outcome};

/// In the place of a command that could not be read.
const UNREAD: &str = "unread";
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const FACES: [&str; 2] = ["public", "operator"];

/// How somebody shows who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Password,
    /// A new account.
    Registration,
    /// An access token, wherever it is shown: at a handshake, in a command, with a request.
    Token,
    /// A refresh token.
    Refresh,
}

const CREDENTIALS: [&str; 4] = ["password", "registration", "token", "refresh"];

macro_rules! limits {
    ($( $variant:ident = $name:literal; )*) => {
        /// A bound or rate that is counted where it is found to be reached.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Limit { $( $variant, )* }

        const COUNTED_HERE: [&str; [$( $name, )*].len()] = [ $( $name, )* ];
    };
}

limits! {
    CommandRate = "command_rate";
    MessageRate = "message_rate";
    LikeRate = "like_rate";
    JoinRate = "join_rate";
    SubscriptionsMax = "subscriptions_max";
    ConnectionsPerUserMax = "connections_per_user_max";
    PasswordQueueMax = "password_queue_max";
}

/// Counts of what is served.
#[derive(Debug)]
pub struct Traffic {
    handshakes: Counts,
    http: Counts,
    auth: Counts,
    received_bytes: Counts,
    received_frames: Counts,
    commands: Counts,
    refusals: Counts,
    limited: [Tally; COUNTED_HERE.len()],
    pushed_back: [Tally; 3],
}

fn outcomes(of: &[&'static str]) -> Vec<[&'static str; 2]> {
    let rows = |one: &&'static str| {
        let one = *one;
        Outcome::ALL.map(|outcome| [one, outcome.name()])
    };
    of.iter().flat_map(rows).collect()
}

fn place(code: ErrorCode) -> usize {
    let at = ErrorCode::ALL.iter().position(|known| *known == code);
    at.unwrap_or(ErrorCode::ALL.len())
}

/// Where the outcome of one of several stands.
fn cell(at: usize, code: Option<ErrorCode>) -> usize {
    let outcome = code.map_or(Outcome::Ok, Outcome::of);
    at * Outcome::ALL.len() + outcome as usize
}

/// Commands by the names that are told.
fn commands() -> Vec<&'static str> {
    Command::NAMES.iter().copied().chain([UNREAD]).collect()
}

impl Traffic {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let codes = || ErrorCode::ALL.iter().map(|code| [code.name()]);
        let http: Vec<_> = FACES
            .iter()
            .flat_map(|face| STATUSES.map(|status| [*face, status]))
            .collect();
        Self {
            handshakes: Counts::of(registry, &catalog::HANDSHAKES, codes().chain([["accepted"]])),
            http: Counts::of(registry, &catalog::HTTP_REQUESTS, http),
            auth: Counts::of(registry, &catalog::AUTH, outcomes(&CREDENTIALS)),
            received_bytes: Counts::one_of(registry, &catalog::RECEIVED_BYTES),
            received_frames: Counts::one_of(registry, &catalog::RECEIVED_FRAMES),
            commands: Counts::of(registry, &catalog::COMMANDS, outcomes(&commands())),
            refusals: Counts::of(registry, &catalog::COMMAND_REFUSALS, codes()),
            limited: std::array::from_fn(|_| Tally::default()),
            pushed_back: <[Tally; 3]>::default(),
        }
    }

    /// A request for a WebSocket was answered: with one, or with a refusal.
    pub fn handshake(&self, refused: Option<ErrorCode>) {
        self.handshakes
            .add(refused.map_or(ErrorCode::ALL.len(), place), 1);
    }

    /// A request was answered.
    pub fn request(&self, public: bool, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        self.http.add(usize::from(!public) * STATUSES.len() + class, 1);
    }

    /// Somebody showed a credential.
    pub fn auth(&self, credential: Credential, refused: Option<ErrorCode>) {
        self.auth.add(cell(credential as usize, refused), 1);
    }

    /// A connection has read so much.
    pub fn received(&self, bytes: u64, frames: u64) {
        self.received_bytes.add(0, bytes);
        self.received_frames.add(0, frames);
    }

    /// A command was answered. `number`: its [`Command::number`]; `None`: it could not be read.
    pub fn command(&self, number: Option<usize>, refused: Option<ErrorCode>) {
        self.commands
            .add(cell(number.unwrap_or(Command::NAMES.len()), refused), 1);
        if let Some(code) = refused {
            self.refusals.add(place(code), 1);
        }
    }

    /// Something was refused because of a bound.
    pub fn limited(&self, limit: Limit) {
        if let Some(tally) = self.limited.get(limit as usize) {
            tally.one();
        }
    }

    /// A message was not taken because its room has too much to say: its sender was told.
    pub fn pushed_back(&self, priority: Priority) {
        let [low, normal, high] = &self.pushed_back;
        match priority {
            Priority::Low => low.one(),
            Priority::Normal => normal.one(),
            Priority::High => high.one(),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> parts::Traffic {
        let commands: Vec<u64> = self.commands.get().collect();
        let by_name = commands.chunks(Outcome::ALL.len());
        let cell = |outcomes: &[u64]| {
            let mut cells = [0; Outcome::ALL.len()];
            cells.iter_mut().zip(outcomes).for_each(|(cell, n)| *cell = *n);
            cells
        };
        let limited = COUNTED_HERE.iter().zip(&self.limited);
        parts::Traffic {
            handshakes_accepted: self.handshakes.get().last().unwrap_or_default(),
            handshakes_refused: self.handshakes.get().take(ErrorCode::ALL.len()).sum(),
            received_bytes: self.received_bytes.get().sum(),
            received_frames: self.received_frames.get().sum(),
            commands: self::commands()
                .into_iter()
                .zip(by_name)
                .map(|(name, outcomes)| (name, cell(outcomes)))
                .collect(),
            limited: limited.map(|(name, tally)| (*name, tally.get())).collect(),
            pushed_back: self.pushed_back.each_ref().map(Tally::get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_that_is_counted_is_one() {
        for name in COUNTED_HERE {
            assert!(
                crate::config::Limits::names().any(|known| known == name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_served_is_counted_in_its_place() {
        let traffic = Traffic::new(&mut Registry::default());
        traffic.handshake(None);
        traffic.handshake(Some(ErrorCode::OriginRejected));
        traffic.command(Some(0), None);
        traffic.command(Some(Command::NAMES.len() - 1), Some(ErrorCode::RateLimited));
        traffic.command(None, Some(ErrorCode::BadRequest));
        traffic.received(10, 2);
        traffic.limited(Limit::PasswordQueueMax);
        traffic.pushed_back(Priority::Low);
        let counts = traffic.counts();
        assert_eq!((counts.handshakes_accepted, counts.handshakes_refused), (1, 1));
        assert_eq!((counts.received_bytes, counts.received_frames), (10, 2));
        assert_eq!(counts.commands[0], (Command::NAMES[0], [1, 0, 0, 0]));
        let last = counts.commands.len() - 1;
        assert_eq!(counts.commands[last], (UNREAD, [0, 1, 0, 0]));
        assert_eq!(counts.commands[last - 1].1, [0, 0, 1, 0]);
        assert_eq!(counts.limited.last(), Some(&("password_queue_max", 1)));
        assert_eq!(counts.pushed_back, [1, 0, 0]);
        for status in [101, 200, 204, 404, 599] {
            traffic.request(false, status);
        }
        let answers: Vec<u64> = traffic.http.get().collect();
        assert_eq!(answers, [0, 0, 0, 0, 0, 1, 2, 0, 1, 1]);
    }
}
