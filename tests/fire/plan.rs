//! Which faults a line has: drawn from a seed, so that a run that failed can be made again.

use std::time::Duration;

use super::rng::Rng;

/// Units of a connection among which a fault is drawn.
const UNITS: u64 = 7;

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
    /// It arrives twice, if it is a request: the second time on a connection of its own, whose answer nobody reads.
    Duplicate,
    /// From here on nothing passes in either direction, and nobody is told.
    HalfOpen,
}

/// The fault of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) direction: Direction,
    /// Which unit of that direction, from 0.
    pub(crate) unit: u64,
    pub(crate) fault: Fault,
}

/// The faults of a line, connection by connection.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Everything passes.
    Clean,
    /// One fault, on the connection of this number, and no other.
    Single(u64, Planned),
    /// So many connections in a hundred have a fault.
    Storm(Rng, u64),
}

impl Plan {
    pub(crate) fn of(&self, connection: u64) -> Option<Planned> {
        match self {
            Plan::Clean => None,
            Plan::Single(number, planned) => (*number == connection).then_some(*planned),
            Plan::Storm(rng, percent) => {
                let mut rng = rng.named(connection + 1);
                rng.percent(*percent).then(|| draw(&mut rng))
            }
        }
    }
}

fn draw(rng: &mut Rng) -> Planned {
    let direction = rng.pick(&[Direction::ToGateway, Direction::ToClient]);
    let fault = match rng.below(16) {
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
        unit: if fault == Fault::Duplicate {
            0
        } else {
            rng.below(UNITS)
        },
        fault,
    }
}
