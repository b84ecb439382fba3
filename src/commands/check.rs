//! `check-config`, and the same report at the start.

use std::fmt::Write;

use countersign::auth::certificate::Certificate;
use countersign::auth::key::SigningKey;
use countersign::config::{Loaded, Problem, Sources};

/// Reads the configuration and everything it names.
pub(crate) fn load(sources: Sources) -> Loaded {
    let mut loaded = sources.load();
    if let Some(path) = &loaded.config.tokens.key_file
        && let Err(error) = SigningKey::from_file(path)
    {
        let place = loaded.place("tokens.key_file").cloned();
        loaded.problems.push(Problem {
            place,
            text: format!("tokens.key_file: {error}"),
        });
    }
    if let Some((certificate, key)) = loaded.config.tls.files()
        && let Err(error) = Certificate::from_files(certificate, key)
    {
        let place = loaded.place("tls.certificate_file").cloned();
        loaded.problems.push(Problem {
            place,
            text: error.to_string(),
        });
    }
    loaded
}

/// The report, and whether it can be used.
pub(crate) fn check(sources: Sources) -> (String, bool) {
    let loaded = load(sources);
    let sound = loaded.problems.is_empty();
    let mut report = problems(&loaded);
    for warning in &loaded.warnings {
        let text = format!("warning: {}", warning.text);
        let place = warning.place.clone();
        let _ = writeln!(report, "{}", Problem { place, text });
    }
    let (problems, warnings) = (loaded.problems.len(), loaded.warnings.len());
    let verdict = if sound { "can" } else { "cannot" };
    let _ = writeln!(
        report,
        "the configuration {verdict} be used: {problems} problem{}, {warnings} warning{}",
        plural(problems),
        plural(warnings)
    );
    (report, sound)
}

/// A line for each problem, as compilers write them, and what helps with them.
pub(crate) fn problems(loaded: &Loaded) -> String {
    let mut lines: String = loaded
        .problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    for advice in &loaded.advice {
        let _ = writeln!(lines, "{advice}");
    }
    lines
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
