//! Faults, planted into valid histories of QR logins.

use countersign_loadtest::history::line::Line;

use super::logins::File;
use super::model::Random;

/// A fault, and how it is planted. False: this history has no place for it.
type Fault = (&'static str, fn(&mut File, &mut Random) -> bool);

pub(crate) const FAULTS: [Fault; 15] = [
    ("a double confirmation", confirm_twice),
    ("a second ticket", second_ticket),
    ("a double session", second_session),
    ("other tokens when asked again", other_tokens),
    ("a session without a confirmation", unconfirmed_session),
    ("a session of another user", another_users_session),
    ("an event after the end", left_its_end),
    ("a scan that succeeds after the end", scanned_after_the_end),
    ("two ends", two_ends),
    ("a ticket told to a phone", leaked_ticket),
    ("a token told to another PC", leaked_token),
    ("a claim told to a phone", leaked_claim),
    ("a loser without an answer", unanswered),
    ("a loser refused with internal", refused_with_internal),
    ("a lost scan told to come again", told_to_come_again),
];

fn any(file: &File, random: &mut Random, holds: impl Fn(&Line<'static>) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..file.len()).filter(|i| holds(&file[*i])).collect();
    (!places.is_empty()).then(|| places[random.below(places.len())])
}

/// The command an answer is to.
fn asked(file: &File, answer: usize) -> &Line<'static> {
    let to = &file[answer];
    let invoke = file[..answer].iter().rfind(|l| l.e == "invoke" && l.id == to.id);
    invoke.unwrap()
}

/// An answer `ok` to this command.
fn answered(file: &File, random: &mut Random, op: &str) -> Option<usize> {
    let oks: Vec<usize> = (0..file.len())
        .filter(|i| file[*i].e == "ok" && asked(file, *i).op.as_deref() == Some(op))
        .collect();
    (!oks.is_empty()).then(|| oks[random.below(oks.len())])
}

/// Once more, at the end: a command with its answer.
fn repeat(file: &mut File, answer: usize, change: impl FnOnce(&mut Line<'static>)) {
    let (mut invoke, mut line) = (asked(file, answer).clone(), file[answer].clone());
    let at = file.last().unwrap().at;
    invoke.at = at + 1;
    line.at = at + 2;
    let id = Some(1_000_000);
    (invoke.id, line.id) = (id, id);
    change(&mut line);
    file.extend([invoke, line]);
}

fn confirm_twice(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "confirm") else {
        return false;
    };
    repeat(file, answer, |_| ());
    true
}

fn second_ticket(file: &mut File, random: &mut Random) -> bool {
    let Some(event) = any(file, random, |l| l.ticket.is_some() && l.e == "qr") else {
        return false;
    };
    let mut line = file[event].clone();
    line.at = file.last().unwrap().at + 1;
    line.ticket = Some("another".into());
    file.push(line);
    true
}

fn second_session(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.redeem") else {
        return false;
    };
    repeat(file, answer, |line| {
        line.session = Some("another".into());
    });
    true
}

fn other_tokens(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.redeem") else {
        return false;
    };
    repeat(file, answer, |line| {
        line.tokens[0] = "another".into();
    });
    true
}

/// The login of a command, whichever of its ids it was named by.
fn login_of(line: &Line<'_>) -> Option<String> {
    let (login, _) = line.qr.as_deref()?.split_once('-')?;
    Some(login.to_owned())
}

/// Answers `ok` to this command about the login that one of them, at random, is about.
fn all_answered(file: &File, random: &mut Random, op: &str) -> Option<(String, Vec<usize>)> {
    let login = login_of(asked(file, answered(file, random, op)?))?;
    let of_it = |i: &usize| {
        let (line, to) = (&file[*i], |i| asked(file, i));
        line.e == "ok" && to(*i).op.as_deref() == Some(op) && login_of(to(*i)).as_ref() == Some(&login)
    };
    let answers = (0..file.len()).filter(of_it).collect();
    Some((login, answers))
}

/// Nobody confirmed the login, nor was told so.
fn unconfirmed_session(file: &mut File, random: &mut Random) -> bool {
    let Some((login, answers)) = all_answered(file, random, "qr.redeem") else {
        return false;
    };
    let sessions: Vec<_> = answers.iter().map(|i| file[*i].id).collect();
    let confirmed: Vec<_> = (0..file.len())
        .filter(|i| file[*i].e == "ok" && file[*i].state.as_deref() == Some("confirmed"))
        .filter(|i| login_of(asked(file, *i)).as_ref() == Some(&login))
        .map(|i| file[i].id)
        .collect();
    file.retain(|line| {
        let told = line.e == "qr" && line.state.as_deref() == Some("confirmed");
        let called = line.id.is_some() && confirmed.contains(&line.id);
        !(called || told && login_of(line).as_ref() == Some(&login))
    });
    sessions.iter().all(|id| file.iter().any(|line| line.id == *id))
}

fn another_users_session(file: &mut File, random: &mut Random) -> bool {
    let Some((_, answers)) = all_answered(file, random, "qr.redeem") else {
        return false;
    };
    for answer in answers {
        file[answer].user = Some("another".into());
    }
    true
}

fn is_end(line: &Line<'_>) -> bool {
    line.e == "qr"
        && matches!(
            line.state.as_deref(),
            Some("redeemed" | "denied" | "cancelled" | "expired")
        )
}

fn left_its_end(file: &mut File, random: &mut Random) -> bool {
    let Some(end) = any(file, random, is_end) else {
        return false;
    };
    let mut line = file[end].clone();
    line.at = file.last().unwrap().at + 1;
    line.seq = line.seq.map(|seq| seq + 1);
    line.state = Some("scanned".into());
    file.push(line);
    true
}

fn scanned_after_the_end(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "scan") else {
        return false;
    };
    let ended = |qr: Option<&str>| file.iter().any(|l| is_end(l) && l.qr.as_deref() == qr);
    if !ended(asked(file, answer).qr.as_deref()) {
        return false;
    }
    repeat(file, answer, |line| {
        line.scan_token = Some("another".into());
    });
    true
}

fn two_ends(file: &mut File, random: &mut Random) -> bool {
    let Some(end) = any(file, random, |l| {
        is_end(l) && l.state.as_deref() != Some("cancelled")
    }) else {
        return false;
    };
    let (conn, qr) = (file[end].conn, file[end].qr.clone());
    let at = file.last().unwrap().at;
    let line = |e: &'static str, at| Line {
        e: e.into(),
        at,
        conn,
        id: Some(1_000_000),
        ..Line::default()
    };
    let invoke = Line {
        op: Some("qr.cancel".into()),
        qr,
        ..line("invoke", at + 1)
    };
    file.extend([invoke, line("ok", at + 2)]);
    true
}

/// Something that was received by one is received by a phone too, under no name.
fn leak(file: &mut File, conn: u64, secret: String) {
    let at = file.last().unwrap().at + 1;
    file.push(Line {
        what: Some("presence".into()),
        secrets: vec![secret.into()],
        ..Line::on("other", at, conn)
    });
}

fn leaked_ticket(file: &mut File, random: &mut Random) -> bool {
    let Some(event) = any(file, random, |l| l.ticket.is_some() && l.e == "qr") else {
        return false;
    };
    let ticket = file[event].ticket.clone().unwrap().into_owned();
    leak(file, 1, ticket);
    true
}

fn leaked_token(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.redeem") else {
        return false;
    };
    let token = file[answer].tokens[1].clone().into_owned();
    let stranger = Line::on("connect", file[answer].at, 1_000_000);
    file.push(stranger);
    leak(file, 1_000_000, token);
    true
}

fn leaked_claim(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.open") else {
        return false;
    };
    let claim = file[answer].claim.clone().unwrap().into_owned();
    leak(file, 2, claim);
    true
}

fn unanswered(file: &mut File, random: &mut Random) -> bool {
    let error = any(file, random, |l| {
        l.e == "error" && l.code.as_deref() == Some("already_scanned")
    });
    let Some(error) = error else { return false };
    file.remove(error);
    true
}

/// A scan that was refused since another user had scanned: its answer, and everything that this phone was refused about
/// this login.
fn lost_scan(file: &File, random: &mut Random) -> Option<(usize, Vec<usize>)> {
    let scanners = |login: &Option<String>| -> Vec<Option<u64>> {
        (0..file.len())
            .filter(|i| file[*i].e == "ok" && asked(file, *i).op.as_deref() == Some("scan"))
            .filter(|i| login_of(asked(file, *i)) == *login)
            .map(|i| file[i].conn)
            .collect()
    };
    let lost: Vec<usize> = (0..file.len())
        .filter(|i| file[*i].code.as_deref() == Some("already_scanned"))
        .filter(|i| !scanners(&login_of(asked(file, *i))).contains(&file[*i].conn))
        .collect();
    let answer = *lost.get(random.below(lost.len().max(1)))?;
    let (conn, login) = (file[answer].conn, login_of(asked(file, answer)));
    let refusals = (0..file.len())
        .filter(|i| file[*i].e == "error" && file[*i].conn == conn)
        .filter(|i| login_of(asked(file, *i)) == login)
        .collect();
    Some((answer, refusals))
}

fn refused_with_internal(file: &mut File, random: &mut Random) -> bool {
    let Some((answer, _)) = lost_scan(file, random) else {
        return false;
    };
    file[answer].code = Some("internal".into());
    true
}

/// Each time it asks.
fn told_to_come_again(file: &mut File, random: &mut Random) -> bool {
    let Some((_, refusals)) = lost_scan(file, random) else {
        return false;
    };
    for refusal in refusals {
        file[refusal].code = Some("unavailable".into());
        file[refusal].state = None;
    }
    true
}

/// Each time but once more at the end, when it is told for good. False: this history has no place for it.
pub(crate) fn came_again(file: &mut File, random: &mut Random) -> bool {
    let Some((answer, refusals)) = lost_scan(file, random) else {
        return false;
    };
    for refusal in refusals {
        file[refusal].code = Some("rate_limited".into());
        file[refusal].state = None;
    }
    repeat(file, answer, |line| line.code = Some("already_scanned".into()));
    true
}
