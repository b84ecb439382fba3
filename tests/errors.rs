//! Every error code and every close code of the parts built so far, in one table: what is told, and that the
//! connection and everything else is afterwards as it was before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

#[path = "errors/bodies.rs"]
mod bodies;
#[path = "errors/closes.rs"]
mod closes;
#[path = "errors/commands.rs"]
mod commands;
mod common;
#[path = "errors/limits.rs"]
mod limits;
#[path = "errors/requests.rs"]
mod requests;
#[path = "errors/sign_in_limits.rs"]
mod sign_in_limits;
#[path = "errors/stage.rs"]
mod stage;

use std::collections::BTreeSet;

use common::within;
use countersign_protocol::{CloseCode, ErrorCode};
use futures::future::BoxFuture;
use stage::Stage;

/// What a case shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covers {
    Error(ErrorCode),
    Close(CloseCode),
}

/// How a case is carried out.
pub(crate) enum How {
    /// A frame that is refused; on one stage with all others of its kind.
    Frame(commands::Frame),
    /// A request that is refused; likewise.
    Request(requests::Refused),
    /// A story on a stage of its own.
    Story(fn() -> BoxFuture<'static, ()>),
}

/// A line of the table.
pub(crate) struct Case {
    pub(crate) covers: Covers,
    pub(crate) name: String,
    pub(crate) how: How,
}

/// A story that is a line of the table.
pub(crate) fn story(covers: Covers, name: &str, run: fn() -> BoxFuture<'static, ()>) -> Case {
    Case {
        covers,
        name: name.to_owned(),
        how: How::Story(run),
    }
}

fn table() -> Vec<Case> {
    let mut table = commands::table();
    table.extend(requests::table());
    table.extend(bodies::table());
    table.extend(limits::table());
    table.extend(sign_in_limits::table());
    table.extend(closes::table());
    table
}

/// Codes that nothing built so far can answer with, and why.
const ERRORS_NOT_YET: [(ErrorCode, &str); 5] = [
    (ErrorCode::Muted, "belongs to the moderation commands"),
    (ErrorCode::Banned, "belongs to the moderation commands"),
    (ErrorCode::SlowMode, "belongs to room.update"),
    (ErrorCode::PolicyDenied, "belongs to sign-in policies"),
    (
        ErrorCode::Internal,
        "a failure of the system or of ourselves; nothing a client sends leads to it",
    ),
];

/// Likewise for close codes.
const CLOSES_NOT_YET: [(CloseCode, &str); 3] = [
    (
        CloseCode::Internal,
        "a panic of a connection's own task; nothing a client sends leads to it",
    ),
    (
        CloseCode::TryAgain,
        "an engine that cannot be reached at the handshake; the embedded one always can",
    ),
    (CloseCode::NotAllowed, "belongs to bans"),
];

#[test]
fn the_table_is_complete() {
    let table = table();
    for code in ErrorCode::ALL {
        let held = table.iter().any(|case| case.covers == Covers::Error(*code));
        let not_yet = ERRORS_NOT_YET.iter().any(|(later, _)| later == code);
        assert!(
            held != not_yet,
            "{code:?}: in the table {held}, not built yet {not_yet}"
        );
    }
    for code in CloseCode::ALL {
        let held = table.iter().any(|case| case.covers == Covers::Close(code));
        let not_yet = CLOSES_NOT_YET.iter().any(|(later, _)| *later == code);
        assert!(
            held != not_yet,
            "{code:?}: in the table {held}, not built yet {not_yet}"
        );
    }
    let names: BTreeSet<_> = table.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), table.len(), "each line has a name of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_is_told_and_leaves_everything_as_it_was() {
    let (mut frames, mut requests, mut stories) = (Vec::new(), Vec::new(), Vec::new());
    for case in table() {
        match case.how {
            How::Frame(frame) => frames.push((case.covers, case.name, frame)),
            How::Request(request) => requests.push((case.covers, case.name, request)),
            How::Story(run) => stories.push((case.name, run)),
        }
    }
    let mut running = Vec::new();
    for (name, run) in stories {
        running.push((name, tokio::spawn(run())));
    }
    let mut stage = Stage::set(commands::scenery).await;
    commands::prepare(&mut stage).await;
    for (covers, name, frame) in frames {
        println!("{name}");
        commands::run(&mut stage, covers, &frame).await;
    }
    for (covers, name, request) in requests {
        println!("{name}");
        requests::run(&mut stage, covers, request).await;
    }
    stage.strike().await;
    for (name, story) in running {
        if let Err(failed) = within(&name, story).await {
            panic!("{name}: {failed}");
        }
    }
}
