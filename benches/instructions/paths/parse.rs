//! The text of each command, read. The texts are the golden files of the protocol, so each is one a client sends.

use std::hint::black_box;

use countersign_protocol::client::{Command, parse};

use super::Path;

macro_rules! golden {
    ($($name:literal),+ $(,)?) => {
        &[$((
            concat!("parse/", $name),
            include_str!(concat!("../../../protocol/tests/golden/command.", $name, ".json")),
        )),+]
    };
}

const TEXTS: &[(&str, &str)] = golden![
    "auth",
    "refresh",
    "ping",
    "qr.open",
    "qr.open.with.keys",
    "qr.watch",
    "qr.answer",
    "qr.cancel",
    "qr.redeem",
    "join",
    "join.with.after",
    "leave",
    "send",
    "like",
    "members",
    "history",
];

pub fn paths() -> Vec<Path> {
    for name in Command::NAMES {
        let text = TEXTS
            .iter()
            .find(|(path, _)| path.strip_prefix("parse/") == Some(name));
        assert!(text.is_some(), "{name} is a command without a path here");
    }
    let path = |&(name, text): &(&'static str, &'static str)| {
        Path::new(name, (1, "command"), move || {
            move || {
                let frame = black_box(parse(black_box(text)));
                u64::from(frame.is_ok_and(|frame| name.contains(frame.command.name())))
            }
        })
    };
    TEXTS.iter().map(path).collect()
}
