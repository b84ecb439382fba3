//! Faults, planted into valid histories.

use countersign_loadtest::history::check::Rule;
use countersign_loadtest::history::line::Line;

use super::model::Random;

type Files = Vec<Vec<Line<'static>>>;

/// A fault: its name, the rule that must report it, and how it is planted. False: this history has no place
/// for it.
pub(crate) type Fault = (&'static str, Rule, fn(&mut Files, &mut Random) -> bool);

pub(crate) const FAULTS: [Fault; 16] = [
    ("a delivery dropped", Rule::R5, drop_one),
    ("acknowledged and then dropped", Rule::R6, drop_acknowledged),
    ("a silent hole: the gap is not told", Rule::R5, untold),
    ("a recovery in part called whole", Rule::R5, part),
    ("a duplicate at resume", Rule::R4, twice_at_resume),
    ("a duplicate while live", Rule::R4, twice),
    ("two swapped", Rule::R3, swap),
    ("a wrong sender", Rule::R1, forge),
    ("content altered", Rule::R1, alter),
    ("content altered for one viewer", Rule::R2, alter),
    ("an epoch reused", Rule::R2, reuse),
    ("one cid sequenced twice", Rule::R4, cid_twice),
    ("sent after, placed before", Rule::R7, reorder),
    ("a like lost", Rule::R8, lose_like),
    ("a viewer leaked", Rule::R8, leak_viewer),
    ("a message before the join is answered", Rule::R10, too_early),
];

/// Places of lines for which something holds.
fn places(files: &Files, holds: impl Fn(&Line<'static>) -> bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (f, file) in files.iter().enumerate() {
        let lines = file.iter().enumerate();
        found.extend(lines.filter(|(_, line)| holds(line)).map(|(i, _)| (f, i)));
    }
    found
}

fn any<T: Copy>(list: &[T], random: &mut Random) -> Option<T> {
    list.get(random.below(list.len())).copied()
}

/// The op an answer is to.
fn op(file: &[Line<'static>], answer: usize) -> &'static str {
    let to = &file[answer];
    let invoke = file[..answer]
        .iter()
        .rev()
        .find(|l| l.e == "invoke" && (l.conn, l.id) == (to.conn, to.id));
    match invoke.and_then(|l| l.op.as_deref()) {
        Some("send") => "send",
        Some("join") => "join",
        Some("like") => "like",
        _ => "",
    }
}

/// Deliveries after which the same stay gets another in order: nothing else happens to it in between.
fn followed(files: &Files, kind: &str) -> Vec<(usize, usize, usize)> {
    let next = |(f, i): (usize, usize)| Some((f, i, next_of_stay(&files[f], i)?));
    places(files, |line| line.e == kind)
        .into_iter()
        .filter_map(next)
        .collect()
}

/// The message that the stay at line `i` gets next, if nothing else happens to it before.
fn next_of_stay(file: &[Line<'static>], i: usize) -> Option<usize> {
    let this = &file[i];
    let stay = file[..i]
        .iter()
        .rev()
        .find(|l| l.conn == this.conn && l.room == this.room && l.e != "counts")?;
    let within = stay.epoch.is_some() || stay.e == "message" || stay.e == "gap";
    let next =
        file.iter().enumerate().skip(i + 1).find(|(_, l)| {
            l.e != "counts" && l.conn == this.conn && (l.room == this.room || l.e == "close")
        })?;
    // A stay that has ended may get frames that were on their way, which nobody judges.
    (within && next.1.e == "message" && open_at(file, i)).then_some(next.0)
}

/// Whether the connection is in the room at this line and has not asked to leave.
fn open_at(file: &[Line<'static>], at: usize) -> bool {
    let this = &file[at];
    let before = || file[..at].iter().filter(|l| l.conn == this.conn);
    let asked = before().rfind(|l| l.room == this.room && matches!(l.op.as_deref(), Some("join" | "leave")));
    asked.is_some_and(|l| {
        l.op.as_deref() == Some("join") && before().any(|answer| answer.e == "ok" && answer.id == l.id)
    })
}

fn drop_one(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i, _)) = any(&followed(files, "message"), random) else {
        return false;
    };
    files[f].remove(i);
    true
}

/// One delivery among all, after which its stay gets another; for histories too long to look at each of them.
pub(crate) fn drop_single(files: &mut Files, random: &mut Random) -> bool {
    let all = places(files, |line| line.e == "message");
    let mut tries = (0..1_000).filter_map(|_| any(&all, random));
    let Some((f, i)) = tries.find(|(f, i)| next_of_stay(&files[*f], *i).is_some()) else {
        return false;
    };
    files[f].remove(i);
    true
}

fn untold(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i, _)) = any(&followed(files, "gap"), random) else {
        return false;
    };
    files[f].remove(i);
    true
}

fn drop_acknowledged(files: &mut Files, random: &mut Random) -> bool {
    // The last delivery of an open stay, of a message that was acknowledged.
    let mut last = Vec::new();
    for (f, i) in places(files, |line| line.e == "message") {
        let this = &files[f][i];
        let behind = files[f][i + 1..].iter().filter(|l| l.conn == this.conn);
        let mut behind = behind.filter(|l| {
            l.e == "close" || (l.room == this.room && l.e != "counts" && l.op.as_deref() != Some("send"))
        });
        let acked = |offset: Option<u64>| {
            files.iter().any(|file| {
                file.iter().enumerate().any(|(i, l)| {
                    l.e == "ok" && l.epoch.is_none() && l.offset == offset && op(file, i) == "send" && {
                        let invoke = file[..i].iter().rev();
                        let mut invoke =
                            invoke.filter(|s| s.e == "invoke" && s.conn == l.conn && s.id == l.id);
                        invoke.next().is_some_and(|s| s.room == this.room)
                    }
                })
            })
        };
        // Only in a room that had one epoch is the offset enough to know the message.
        let epochs = |l: &Line<'_>| l.room == this.room && l.epoch.is_some();
        let one_epoch = {
            let mut all: Vec<_> = files
                .iter()
                .flatten()
                .filter(|l| epochs(l))
                .map(|l| &l.epoch)
                .collect();
            all.sort();
            all.dedup();
            all.len() == 1
        };
        if open_at(&files[f], i) && one_epoch && behind.next().is_none() && acked(this.offset) {
            last.push((f, i));
        }
    }
    let Some((f, i)) = any(&last, random) else {
        return false;
    };
    files[f].remove(i);
    true
}

fn recovered(files: &Files) -> Vec<(usize, usize)> {
    places(files, |line| {
        line.recovered == Some(true) && line.messages.len() > 1
    })
}

fn part(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i)) = any(&recovered(files), random) else {
        return false;
    };
    let messages = &mut files[f][i].messages;
    messages.remove(random.below(messages.len()));
    true
}

fn twice_at_resume(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i)) = any(&recovered(files), random) else {
        return false;
    };
    let reply = &files[f][i];
    let last = reply.messages.last().unwrap().clone();
    let line = Line {
        room: reply.room.clone(),
        offset: Some(last.offset),
        user: last.user,
        cid: last.cid,
        msg: last.msg,
        body: Some(last.body),
        ..Line::on("message", reply.at, reply.conn.unwrap())
    };
    files[f].insert(i + 1, line);
    true
}

fn twice(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i, j)) = any(&followed(files, "message"), random) else {
        return false;
    };
    let line = files[f][i].clone();
    files[f].insert(j, line);
    true
}

fn swap(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i, j)) = any(&followed(files, "message"), random) else {
        return false;
    };
    files[f].swap(i, j);
    true
}

fn forge(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i)) = any(&places(files, |l| l.e == "message"), random) else {
        return false;
    };
    files[f][i].user = Some("eve".into());
    true
}

fn alter(files: &mut Files, random: &mut Random) -> bool {
    // One that another viewer was told too.
    let told = |l: &Line<'static>| (l.room.clone(), l.body.clone(), l.cid.clone(), l.offset);
    let all: Vec<_> = files
        .iter()
        .flatten()
        .filter(|l| l.e == "message")
        .map(told)
        .collect();
    let shared = |l: &Line<'static>| all.iter().filter(|t| **t == told(l)).count() > 1;
    let Some((f, i)) = any(&places(files, |l| l.e == "message" && shared(l)), random) else {
        return false;
    };
    files[f][i].body = Some("altered".into());
    true
}

fn reuse(files: &mut Files, _: &mut Random) -> bool {
    let names = |room: &str, life: usize| format!("e{room}-{life}");
    for (room, name) in [("0", "chat:r0"), ("1", "chat:r1"), ("2", "chat:r2")] {
        // The first messages of the first two lives that saw any, by somebody.
        let first = |epoch: &str| {
            let replies = files
                .iter()
                .flatten()
                .filter(|l| l.epoch.as_deref() == Some(epoch));
            let mut messages = replies.flat_map(|l| l.messages.iter());
            messages
                .find(|m| m.offset == 1)
                .map(|m| (m.body.clone(), m.user.clone()))
        };
        for life in 0..20 {
            let (old, new) = (names(room, life), names(room, life + 1));
            let (Some(a), Some(b)) = (first(&old), first(&new)) else {
                continue;
            };
            if a == b {
                continue;
            }
            for line in files.iter_mut().flatten() {
                if line.room.as_deref() == Some(name) || line.epoch.is_some() {
                    for epoch in [&mut line.epoch, &mut line.after_epoch] {
                        if epoch.as_deref() == Some(&*new) {
                            *epoch = Some(old.clone().into());
                        }
                    }
                }
            }
            return true;
        }
    }
    false
}

fn cid_twice(files: &mut Files, random: &mut Random) -> bool {
    let Some((f, i)) = any(&places(files, |l| l.duplicate), random) else {
        return false;
    };
    files[f][i].duplicate = false;
    files[f][i].offset = Some(9_999);
    true
}

fn reorder(files: &mut Files, random: &mut Random) -> bool {
    // Of two sends of one connection that were acknowledged in one stay, the first is said to have been sent
    // after the second was acknowledged.
    let mut pairs = Vec::new();
    for (f, i) in places(files, |l| l.op.as_deref() == Some("send") && l.cid.is_none()) {
        let file = &files[f];
        let invoke = &file[i];
        let ok = |invoke: &Line<'_>| {
            file.iter()
                .position(|l| l.e == "ok" && (l.conn, l.id) == (invoke.conn, invoke.id) && l.offset.is_some())
        };
        let Some(first) = ok(invoke) else { continue };
        let later = file
            .iter()
            .enumerate()
            .skip(i + 1)
            .filter(|(_, l)| l.conn == invoke.conn);
        let mut later = later.take_while(|(_, l)| !matches!(l.op.as_deref(), Some("leave" | "join")));
        let next = later.find(|(_, l)| {
            l.op.as_deref() == Some("send")
                && l.room == invoke.room
                && l.cid.is_none()
                && l.body != invoke.body
        });
        if let Some((_, next)) = next
            && let Some(second) = ok(next)
        {
            pairs.push((f, i, first, second));
        }
    }
    let Some((f, invoke, first, second)) = any(&pairs, random) else {
        return false;
    };
    let late = files[f][second].at + 1;
    files[f][invoke].at = late;
    files[f][first].at = late + 1;
    true
}

fn lose_like(files: &mut Files, random: &mut Random) -> bool {
    let likes = places(files, |l| l.value.is_some());
    let Some((f, i)) = any(&likes, random) else {
        return false;
    };
    files[f][i].value = Some(0);
    true
}

fn leak_viewer(files: &mut Files, _: &mut Random) -> bool {
    if files.len() > 1 {
        return false;
    }
    let Some((f, i)) = places(files, |l| l.e == "counts").pop() else {
        return false;
    };
    if !open_at(&files[f], i) {
        return false;
    }
    files[f][i].counts.as_mut().unwrap().viewers += 1;
    true
}

fn too_early(files: &mut Files, random: &mut Random) -> bool {
    // To a connection that has not joined anything yet.
    let Some((f, i)) = any(&places(files, |l| l.e == "connect"), random) else {
        return false;
    };
    let Some((from, at)) = places(files, |l| l.e == "message").pop() else {
        return false;
    };
    let mut line = files[from][at].clone();
    line.conn = files[f][i].conn;
    files[f].insert(i + 1, line);
    true
}
