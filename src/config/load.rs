//! Putting a configuration together: the defaults, a file over them, the environment over it, flags over all.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::Found;
use super::fields::{self, Field, PREFIX};
use super::problem::{Place, Problem};
use super::reader::{Reader, read_field, read_settings};
use super::suggest::closest;
use super::value::Kind;
use super::{Config, Exposed};

/// Variables that are no settings, each without the prefix.
const NO_SETTINGS: [&str; 8] = [
    "CONFIG",
    "COMMIT",
    "LOG",
    "LOG_FORMAT",
    "TERMINAL_CODE",
    "SOAK",
    "BIN",
    "URL",
];
/// What the names of variables for tests begin with, after the prefix.
const FOR_TESTS: &str = "TEST_";

/// What a configuration is made of.
#[derive(Debug, Default)]
pub struct Sources {
    /// Where it is, and its text.
    pub file: Option<(PathBuf, String)>,
    /// Names and values of all variables whose name begins with [`PREFIX`].
    pub environment: Vec<(String, String)>,
    /// Paths and values.
    pub flags: Vec<(String, String)>,
    /// To be tried with a phone in the same network: what is not set is as that takes.
    pub trial: Option<Trial>,
}

/// What `--trial-on-lan` knows.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// This machine's address in its network, if it has one.
    pub machine: Option<IpAddr>,
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// To be run with only if there are no problems.
    pub config: Config,
    /// What it cannot be run with.
    pub problems: Vec<Problem>,
    /// What may not be meant.
    pub warnings: Vec<Problem>,
    /// What helps with the problems, a sentence each.
    pub advice: Vec<&'static str>,
    /// Whether the file could be read as TOML: else it may say more than what was read.
    pub whole: bool,
    places: BTreeMap<String, Place>,
}

impl Loaded {
    /// Where a setting was set.
    pub fn place(&self, path: &str) -> Option<&Place> {
        self.places.get(path)
    }
}

impl Sources {
    /// The configuration, with everything that is wrong with it.
    pub fn load(self) -> Loaded {
        let mut reading = Reading::default();
        let is_trial = self.trial.is_some();
        reading.all(self);
        let checked = reading.config.check();
        let doubts = reading.config.doubts();
        let judged = |all: Vec<Found>| all.into_iter().filter(|found| reading.can_be_judged(found));
        let checked: Vec<Found> = judged(checked).collect();
        let mut advice = Vec::new();
        if !is_trial && checked.iter().any(Found::is_exposure) {
            advice
                .push("to try it with a phone in the same network, start it with --trial-on-lan, which says all of that");
        }
        let mut problems = reading.problems();
        problems.extend(checked.into_iter().map(|found| reading.placed(found)));
        let mut warnings: Vec<Problem> = judged(doubts).map(|found| reading.placed(found)).collect();
        sort(&mut problems);
        sort(&mut warnings);
        if reading.broken {
            advice.push("what depends on several settings is looked at once the file can be read as TOML");
        }
        Loaded {
            config: reading.config,
            problems,
            warnings,
            advice,
            whole: !reading.broken,
            places: reading.places,
        }
    }

    /// The configuration, with what of it could not be read.
    pub(super) fn read(self) -> (Config, Vec<Problem>) {
        let mut reading = Reading::default();
        reading.all(self);
        let mut problems = reading.problems();
        sort(&mut problems);
        (reading.config, problems)
    }
}

/// By where they are, those that are nowhere last.
fn sort(problems: &mut [Problem]) {
    problems.sort_by(|a, b| (a.place.is_none(), &a.place).cmp(&(b.place.is_none(), &b.place)));
}

#[derive(Default)]
struct Reading {
    config: Config,
    /// Where each setting was set, by path.
    places: BTreeMap<String, Place>,
    faults: Vec<(String, Problem)>,
    /// The file is no TOML: what it says may be more than what was read.
    broken: bool,
}

impl Reading {
    fn all(&mut self, sources: Sources) {
        if sources.trial.is_some() {
            self.config.listen = SocketAddr::from(([0, 0, 0, 0], self.config.listen.port()));
            self.config.exposed = Exposed::TRIAL.to_vec();
        }
        if let Some((path, text)) = sources.file {
            self.file(&path, &text);
        }
        let known = fields::all();
        for (name, text) in &sources.environment {
            self.variable(&known, name, text);
        }
        for (path, text) in &sources.flags {
            let flag = known
                .iter()
                .find(|field| field.path == *path)
                .and_then(Field::flag);
            let place = Place::Flag(format!("--{}", flag.unwrap_or_else(|| path.clone())));
            self.take(path, text, place);
        }
        let machine = sources.trial.and_then(|trial| trial.machine);
        if let Some(machine) =
            machine.filter(|_| self.config.public_origin.is_none() && self.config.is_reachable())
        {
            let at = SocketAddr::new(machine, self.config.listen.port());
            // Port 0 is no place that anybody could go to.
            let scheme = self.config.tls.scheme();
            let origin = format!("{scheme}://{at}");
            let port = if scheme == "https" { ":443" } else { ":80" };
            let origin = origin.strip_suffix(port).unwrap_or(&origin);
            self.config.public_origin = (at.port() != 0).then(|| origin.to_owned());
        }
    }

    /// What a file says. What is wrong as TOML is told, and what could be read all the same is read, but for the lines
    /// that were told.
    fn file(&mut self, path: &std::path::Path, text: &str) {
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|b| *b == b'\n').count();
        let place = |at: usize| Place::File {
            path: path.to_owned(),
            line: line_of(at),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        self.broken = !errors.is_empty();
        let mut lines = Vec::new();
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            if !lines.contains(&line_of(at)) {
                lines.push(line_of(at));
                // Without the line itself: a secret may stand in it.
                self.fault("", Some(place(at)), error.message().to_owned());
            }
        }
        let mut reader = Reader::default();
        let span = table.span();
        let table = Spanned::new(span, DeValue::Table(table.into_inner()));
        read_settings(&mut self.config, &table, &mut reader);
        for fault in reader.faults {
            // What the parser made of a line that it could not read may be said to be anywhere.
            let key = reader.seen.iter().find(|(path, _)| *path == fault.path);
            let of_a_told_line = [Some(fault.at), key.map(|(_, at)| *at)]
                .into_iter()
                .flatten()
                .any(|at| lines.contains(&line_of(at)));
            if !of_a_told_line {
                self.fault(&fault.path, Some(place(fault.at)), fault.text);
            }
        }
        self.places
            .extend(reader.seen.into_iter().map(|(path, at)| (path, place(at))));
    }

    /// What a variable says. An empty one is an empty list where a list is meant, and nothing otherwise.
    fn variable(&mut self, known: &[Field], name: &str, text: &str) {
        let is_name = |field: &&Field| field.variable().as_deref() == Some(name);
        if let Some(field) = known.iter().find(is_name) {
            let is_list = matches!(field.kind, Kind::List | Kind::Choices(_));
            if is_list || !text.is_empty() {
                self.take(&field.path, text, Place::Environment(name.to_owned()));
            }
            return;
        }
        if is_no_setting(name) {
            return;
        }
        let names: Vec<String> = known.iter().filter_map(Field::variable).collect();
        let rest = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let rests: Vec<String> = names.iter().map(|name| rest(name)).collect();
        let meant = closest(&rest(name), rests.iter().map(String::as_str));
        let text = match meant {
            Some(meant) => format!("{name} is no setting; did you mean {PREFIX}{meant}?"),
            None => format!("{name} is no setting; `countersign config-reference` lists them"),
        };
        // The name is what is wrong: it is the sentence's subject and not also its place.
        self.fault("", None, text);
    }

    /// What the environment or a flag says of a setting.
    fn take(&mut self, path: &str, text: &str, place: Place) {
        let Some((row, value)) = fields::at(&mut self.config, path) else {
            self.fault(path, Some(place), format!("{path} is no setting"));
            return;
        };
        let mut reader = Reader::at(path);
        let written = value.kind().written(text);
        read_field(row, value, &written, &mut reader);
        // It takes the place of all that was said before.
        let below = |other: &String| {
            other
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.places.retain(|other, _| !below(other));
        self.places.insert(path.to_owned(), place.clone());
        for (path, _) in reader.seen {
            self.places.insert(path, place.clone());
        }
        for fault in reader.faults {
            self.fault(&fault.path, Some(place.clone()), fault.text);
        }
    }

    fn fault(&mut self, path: &str, place: Option<Place>, text: String) {
        self.faults.push((path.to_owned(), Problem { place, text }));
    }

    fn problems(&self) -> Vec<Problem> {
        self.faults.iter().map(|(_, problem)| problem.clone()).collect()
    }

    /// Whether everything that something depends on could be read.
    fn can_be_judged(&self, found: &Found) -> bool {
        let failed = |path: &String| self.faults.iter().any(|(other, _)| other == path);
        let whole = !self.broken || found.paths.len() == 1;
        whole && !found.paths.iter().any(failed)
    }

    /// With the place where the first of its settings that was set stands.
    fn placed(&self, found: Found) -> Problem {
        Problem {
            place: found.paths.iter().find_map(|path| self.place(path)).cloned(),
            text: found.text,
        }
    }

    /// That of a setting, or of the table it is in.
    fn place(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// Whether a variable with the prefix is for something else: the program's own, those of tests, and those that
/// Kubernetes sets in every pod for services whose names begin as ours.
fn is_no_setting(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    let of_a_service = name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_");
    NO_SETTINGS.contains(&rest) || rest.starts_with(FOR_TESTS) || of_a_service
}
