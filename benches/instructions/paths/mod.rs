//! The paths that are counted.

mod fanout;
mod logins;
mod messages;
mod outbox;
mod parse;
mod rooms;
mod tokens;

/// Sets a path up, and answers what carries it out: it may be called more than once, and says how many units it
/// has done.
type Prepare = Box<dyn FnOnce() -> Box<dyn FnMut() -> u64>>;

/// One path.
pub struct Path {
    /// Unique, `kind/what`.
    pub name: &'static str,
    /// What the instructions are divided by in the table.
    pub unit: &'static str,
    /// Units of one run.
    pub units: u64,
    pub prepare: Prepare,
}

impl Path {
    pub fn new<F: FnMut() -> u64 + 'static>(
        name: &'static str,
        (units, unit): (u64, &'static str),
        prepare: impl FnOnce() -> F + 'static,
    ) -> Self {
        Self {
            name,
            unit,
            units,
            prepare: Box::new(move || Box::new(prepare())),
        }
    }
}

/// All of them, in the order of the table.
pub fn all() -> Vec<Path> {
    [
        messages::paths(),
        fanout::paths(),
        parse::paths(),
        tokens::paths(),
        outbox::paths(),
        rooms::paths(),
        logins::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
