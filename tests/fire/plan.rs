//! Which faults a line has: drawn from a seed, so that a run that failed can be made again.

use std::time::Duration;

use super::rng::Rng;

/// Units of a connection among which a fault is drawn, and among which one that comes twice.
const UNITS: u64 = 7;
const REPEATABLE: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToGateway,
    ToClient,
}

/// What happens to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends, and the unit is lost.
    CutBefore,
    /// Half of it arrives, then the connection ends.
    CutInside,
    /// It arrives, then the connection ends.
    CutAfter,
    /// It comes late.
    Delay(Duration),
    /// It arrives twice. A command of a WebSocket comes a second time right behind itself; a request on a connection of
    /// its own, whose answer the client is not given.
    Duplicate,
    /// From here on nothing passes in either direction, and nobody is told.
    HalfOpen,
}

/// By what they are called in a tally.
pub(crate) const FAULT_KINDS: [&str; 6] = [
    "cut before",
    "cut inside",
    "cut after",
    "delayed",
    "repeated",
    "half open",
];

impl Fault {
    /// One of [`FAULT_KINDS`].
    pub(crate) fn name(self) -> &'static str {
        FAULT_KINDS[match self {
            Fault::CutBefore => 0,
            Fault::CutInside => 1,
            Fault::CutAfter => 2,
            Fault::Delay(_) => 3,
            Fault::Duplicate => 4,
            Fault::HalfOpen => 5,
        }]
    }
}

/// The fault of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) direction: Direction,
    /// Which unit of that direction, from 0; signs of life are not counted. For what comes twice only commands and
    /// requests are.
    pub(crate) unit: u64,
    pub(crate) fault: Fault,
}

/// The faults of a line, connection by connection.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Everything passes.
    Clean,
    /// A fault on each connection of these numbers, and no other.
    Named(Vec<(u64, Planned)>),
    /// So many connections in a hundred have a fault.
    Storm(Rng, u64),
}

impl Plan {
    pub(crate) fn of(&self, connection: u64) -> Option<Planned> {
        match self {
            Plan::Clean => None,
            Plan::Named(faults) => {
                let mut faults = faults.iter().filter(|(number, _)| *number == connection);
                faults.next().map(|(_, planned)| *planned)
            }
            Plan::Storm(rng, percent) => {
                let mut rng = rng.named(connection + 1);
                rng.percent(*percent).then(|| draw(&mut rng))
            }
        }
    }

    /// How many faults must have happened, where that is known.
    pub(crate) fn certain(&self) -> Option<usize> {
        match self {
            Plan::Clean => Some(0),
            Plan::Named(faults) => Some(faults.len()),
            Plan::Storm(..) => None,
        }
    }
}

fn draw(rng: &mut Rng) -> Planned {
    let direction = rng.pick(&[Direction::ToGateway, Direction::ToClient]);
    let fault = match rng.below(17) {
        0..=2 => Fault::CutBefore,
        3..=4 => Fault::CutInside,
        5..=8 => Fault::CutAfter,
        9..=11 => Fault::Delay(Duration::from_millis(1 + rng.below(60))),
        12..=14 => Fault::Duplicate,
        _ => Fault::HalfOpen,
    };
    Planned {
        direction: if fault == Fault::Duplicate {
            Direction::ToGateway
        } else {
            direction
        },
        unit: rng.below(if fault == Fault::Duplicate {
            REPEATABLE
        } else {
            UNITS
        }),
        fault,
    }
}
