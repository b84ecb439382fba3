//! One exact frame of each kind, in both directions. A file holds the bytes as they travel: one line, no line end.
//!
//! Every value below is written and must give its file, and every file is read back and written again and must
//! give itself. `GOLDEN=write cargo test -p countersign-protocol --test golden` writes the files anew: look at
//! the difference, a change here is a change for every client.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a frame that cannot be read has failed"
)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use countersign_protocol::client::{self, Command, DeviceKind, FrameError, Position, Priority};
use countersign_protocol::codec::{command_json, json, ok_json};
use countersign_protocol::error::{ErrorReply, Problem};
use countersign_protocol::http::{
    AccountCreated, AnswerBody, Confirm, Deny, DeviceBody, Jwk, Jwks, Login, MeBody, NewAccount, QrOutcome,
    QrStateBody, RedeemBody, RefreshBody, ScanRequest, Scanned, SessionBody, Sessions, Tokens,
};
use countersign_protocol::server::{
    Counts, CountsPush, From as Author, GapPush, Hello, HelloLimits, HistoryPage, Joined, LeftPush,
    LeftReason, Liked, MatchForm, MatchMode, Me, MePush, Member, MembersPage, MessagePush, PresencePush,
    Profile, PublicDevice, QrMatch, QrOpened, QrPush, QrRedeemed, QrScanner, QrState, QrWatching,
    ReconnectPush, Role, RoomInfo, RoomPush, Sent, SessionPush, SessionState, SignedIn,
};
use countersign_protocol::{ErrorCode, RoomName, UserId};
use serde_json::value::RawValue;

const QR_ID: &str = "jh8wV0m3RkOd1bKQ2yYf7A";
const NEXT_QR_ID: &str = "2vQkXg5cT9SxkQm4pN0bZw";
const CLAIM: &str = "Yw3lT1mZq0cN8rKf5vB2xJ7hD4gS6aEuP9oIiLtRkQM";
const TICKET: &str = "m0Vt8QyK3cXj5sW1nR7bFz2LdH9gAePuT4oI6iNqYhE";
const SCAN_TOKEN: &str = "Xn4Rb7Kq1Wc9Zt2Yj5Vm8Ls0Pd3Gf6Ha_eUoIiTyQwE";
const ACCESS: &str =
    "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6IjEifQ.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
const REFRESH: &str = "s_5uX0c1nQTqkYwDg3pJ8zRA.Qk3vT1mZq0cN8rKf5vB2xJ7hD4gS6aEuP9oIiLtRkQM.Zw9Rb7Kq1Wc9Zt2Yj5Vm8Ls0Pd3Gf6HaeUoIiTyQwEk";
const SESSION: &str = "s_5uX0c1nQTqkYwDg3pJ8zRA";
const EPOCH: &str = "e_r9sT4uVwXyZ0aBcDeFgHiJ";
const AVATAR: &str = "https://img.example/alice.png";
const COORDINATES: [&str; 2] = [
    "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
];

/// What has been compared: file names, and the types that were in them.
#[derive(Default)]
struct Golden {
    files: BTreeSet<String>,
    types: BTreeSet<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Golden {
    fn check(&mut self, name: &str, kind: &str, written: Vec<u8>, again: impl Fn(&str) -> Vec<u8>) {
        let path = folder().join(format!("{name}.json"));
        let written = String::from_utf8(written).unwrap();
        assert!(self.files.insert(format!("{name}.json")), "{name} is there twice");
        // `Cow<'_, T>` and `T<'_>` count as T.
        self.types
            .insert(kind.split(['<', ' ']).next().unwrap_or_default().to_owned());
        if std::env::var_os("GOLDEN").is_some_and(|v| v == "write") {
            std::fs::write(&path, &written).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            file, written,
            "{name}: the value is written otherwise than the file says"
        );
        assert_eq!(
            String::from_utf8(again(&file)).unwrap(),
            file,
            "{name}: reading the file loses something"
        );
    }
}

/// A value that travels as it is.
macro_rules! frame {
    ($golden:ident, $name:literal, $kind:ty, $value:expr) => {
        let value: $kind = $value;
        $golden.check($name, stringify!($kind), json(&value), |text| {
            let read: $kind = serde_json::from_str(text).unwrap();
            json(&read)
        });
    };
}

/// The fields of an `ok` reply, under id 7.
macro_rules! reply {
    ($golden:ident, $name:literal, $kind:ty, $value:expr) => {
        let value: $kind = $value;
        $golden.check(
            concat!("reply.", $name),
            stringify!($kind),
            ok_json(7, &value),
            |text| {
                let read: $kind = serde_json::from_str(text).unwrap();
                ok_json(7, &read)
            },
        );
    };
}

/// A command, under id 7; read the way the gateway reads it.
macro_rules! command {
    ($golden:ident, $name:literal, $kind:ty, $value:expr) => {
        let value: $kind = $value;
        let name = concat!("command.", $name);
        let command = name
            .split('.')
            .skip(1)
            .take_while(|p| *p != "with")
            .collect::<Vec<_>>()
            .join(".");
        $golden.check(
            name,
            stringify!($kind),
            command_json(7, &command, &value),
            write_again,
        );
    };
}

#[path = "frames/oauth.rs"]
mod oauth;

fn write_again(text: &str) -> Vec<u8> {
    let frame = client::parse(text).unwrap();
    let (id, name) = (frame.id, frame.command.name());
    // Without a wildcard: a new command does not compile until it is here.
    match &frame.command {
        Command::Auth(fields) => command_json(id, name, fields),
        Command::Refresh(fields) => command_json(id, name, fields),
        Command::Ping(fields) => command_json(id, name, fields),
        Command::QrOpen(fields) => command_json(id, name, fields),
        Command::QrWatch(fields) => command_json(id, name, fields),
        Command::QrAnswer(fields) => command_json(id, name, fields),
        Command::QrCancel(fields) => command_json(id, name, fields),
        Command::QrRedeem(fields) => command_json(id, name, fields),
        Command::Join(fields) => command_json(id, name, fields),
        Command::Leave(fields) => command_json(id, name, fields),
        Command::Send(fields) => command_json(id, name, fields),
        Command::Like(fields) => command_json(id, name, fields),
        Command::Members(fields) => command_json(id, name, fields),
        Command::History(fields) => command_json(id, name, fields),
    }
}

fn room() -> RoomName {
    RoomName::parse("chat:lobby").unwrap()
}

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn alice() -> Profile {
    Profile {
        id: user("alice"),
        name: Some("Alice".into()),
        avatar: Some(AVATAR.into()),
    }
}

fn laptop() -> PublicDevice {
    PublicDevice {
        name: Some("Firefox on Linux".into()),
        kind: DeviceKind::Web,
    }
}

fn body(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

fn by_alice(body: &RawValue) -> MessagePush<'_> {
    MessagePush {
        room: "chat:lobby".into(),
        offset: 42,
        at_ms: 1_795_305_226_000,
        from: Some(Cow::Owned(Author {
            id: user("alice"),
            name: Some("Alice".into()),
            avatar: Some(AVATAR.into()),
            role: Role::Member,
        })),
        source: None,
        cid: Some("0198c0de-7a61-7c3e-9d0b-3b1f6a2e4c55".into()),
        priority: Priority::Normal,
        body,
    }
}

fn counts() -> Counts {
    Counts {
        version: 9,
        viewers: 120,
        members: 87,
        counters: [("likes".to_owned(), 4_032)].into(),
    }
}

fn info() -> RoomInfo {
    RoomInfo {
        title: Some("The lobby".into()),
        announcement: Some("Be kind.".into()),
        version: 3,
        ..RoomInfo::default()
    }
}

fn member(id: &str, name: &str) -> Member {
    Member {
        id: user(id),
        name: Some(name.into()),
        avatar: None,
        role: Role::Member,
    }
}

fn error(code: ErrorCode, message: &str) -> ErrorReply {
    ErrorReply {
        id: Some(7),
        code,
        message: message.into(),
        retry: code.retry(),
        after_ms: None,
        state: None,
        reason: None,
        tries_left: None,
    }
}

fn problem(code: ErrorCode, detail: &str) -> Problem {
    Problem {
        kind: "about:blank".into(),
        title: code.name().replace('_', " "),
        status: code.status(),
        detail: detail.into(),
        code,
        after_ms: None,
        state: None,
        reason: None,
        tries_left: None,
        methods: Vec::new(),
    }
}

fn commands(golden: &mut Golden) {
    command!(
        golden,
        "auth",
        client::Auth<'_>,
        client::Auth {
            token: ACCESS.into(),
            device: Some("pc-1".into()),
            dpop: None,
        }
    );
    command!(
        golden,
        "auth.with.dpop",
        client::Auth<'_>,
        client::Auth {
            token: ACCESS.into(),
            device: None,
            dpop: Some("eyJ0eXAiOiJkcG9wK2p3dCJ9.eyJodG0iOiJHRVQifQ.c2lnbmF0dXJl".into()),
        }
    );
    command!(
        golden,
        "refresh",
        client::Refresh<'_>,
        client::Refresh {
            token: ACCESS.into(),
            dpop: None
        }
    );
    command!(
        golden,
        "refresh.with.dpop",
        client::Refresh<'_>,
        client::Refresh {
            token: ACCESS.into(),
            dpop: Some("eyJ0eXAiOiJkcG9wK2p3dCJ9.eyJodG0iOiJHRVQifQ.c2lnbmF0dXJl".into()),
        }
    );
    command!(golden, "ping", client::Empty, client::Empty {});
    let device = client::Device {
        id: "pc-1".into(),
        name: Some("Firefox on Linux".into()),
        kind: DeviceKind::Web,
    };
    command!(
        golden,
        "qr.open",
        client::QrOpen<'_>,
        client::QrOpen {
            device: device.clone(),
            public_key: None,
            dpop_jkt: None,
            client_id: None,
        }
    );
    let [x, y] = COORDINATES;
    command!(
        golden,
        "qr.open.with.keys",
        client::QrOpen<'_>,
        client::QrOpen {
            device,
            public_key: Some(client::PublicKey {
                kty: "EC".into(),
                crv: "P-256".into(),
                x: x.into(),
                y: y.into()
            }),
            dpop_jkt: Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".into()),
            client_id: None,
        }
    );
    command!(
        golden,
        "qr.watch",
        client::QrWatch<'_>,
        client::QrWatch {
            qr_id: QR_ID.into(),
            claim: CLAIM.into(),
            device: "pc-1".into(),
            after_seq: Some(1),
        }
    );
    command!(
        golden,
        "qr.answer",
        client::QrAnswer<'_>,
        client::QrAnswer {
            qr_id: QR_ID.into(),
            claim: CLAIM.into(),
            code: "47".into(),
        }
    );
    command!(
        golden,
        "qr.cancel",
        client::QrCancel<'_>,
        client::QrCancel {
            qr_id: QR_ID.into(),
            claim: CLAIM.into(),
        }
    );
    command!(
        golden,
        "qr.redeem",
        client::QrRedeem<'_>,
        client::QrRedeem {
            qr_id: QR_ID.into(),
            claim: CLAIM.into(),
            ticket: TICKET.into(),
        }
    );
    command!(
        golden,
        "join",
        client::Join<'_>,
        client::Join {
            room: "chat:lobby".into(),
            after: None
        }
    );
    command!(
        golden,
        "join.with.after",
        client::Join<'_>,
        client::Join {
            room: "chat:lobby".into(),
            after: Some(Position {
                epoch: EPOCH.into(),
                offset: 41
            }),
        }
    );
    command!(
        golden,
        "leave",
        client::InRoom<'_>,
        client::InRoom {
            room: "chat:lobby".into()
        }
    );
    let text = body(r#"{"text":"hello"}"#);
    command!(
        golden,
        "send",
        client::Send<'_>,
        client::Send {
            room: "chat:lobby".into(),
            body: &text,
            cid: Some("0198c0de-7a61-7c3e-9d0b-3b1f6a2e4c55".into()),
            priority: Priority::Normal,
        }
    );
    command!(
        golden,
        "like",
        client::Like<'_>,
        client::Like {
            room: "chat:lobby".into(),
            counter: None,
            n: 1,
        }
    );
    command!(
        golden,
        "like.with.counter",
        client::Like<'_>,
        client::Like {
            room: "chat:lobby".into(),
            counter: Some("likes".into()),
            n: 100,
        }
    );
    command!(
        golden,
        "members",
        client::Members<'_>,
        client::Members {
            room: "chat:lobby".into(),
            limit: Some(2),
            cursor: Some("alice".into()),
        }
    );
    command!(
        golden,
        "history",
        client::History<'_>,
        client::History {
            room: "chat:lobby".into(),
            before: Some(42),
            after: None,
            limit: Some(50),
        }
    );
    command!(
        golden,
        "history.with.after",
        client::History<'_>,
        client::History {
            room: "chat:lobby".into(),
            before: None,
            after: Some(42),
            limit: None,
        }
    );
}

fn replies(golden: &mut Golden) {
    let signed_in = || SignedIn {
        user: alice(),
        session: SESSION.into(),
        expires_in_ms: 899_000,
    };
    reply!(golden, "auth", SignedIn, signed_in());
    reply!(golden, "refresh", SignedIn, signed_in());
    reply!(golden, "ping", client::Empty, client::Empty {});
    reply!(
        golden,
        "qr.open",
        QrOpened,
        QrOpened {
            qr_id: QR_ID.into(),
            claim: CLAIM.into(),
            url: format!("https://login.example/q/{QR_ID}"),
            expires_in_ms: 300_000,
            rotate_in_ms: 45_000,
            seq: 1,
            state: QrState::Waiting,
        }
    );
    reply!(
        golden,
        "qr.watch",
        QrWatching,
        QrWatching {
            state: QrState::Scanned,
            expires_in_ms: 41_250
        }
    );
    reply!(golden, "qr.answer", client::Empty, client::Empty {});
    reply!(golden, "qr.cancel", client::Empty, client::Empty {});
    reply!(
        golden,
        "qr.redeem",
        QrRedeemed,
        QrRedeemed {
            access_token: Some(ACCESS.into()),
            refresh_token: Some(REFRESH.into()),
            sealed: None,
            token_type: "Bearer".into(),
            expires_in_ms: 899_000,
            user: alice(),
            session: SESSION.into(),
        }
    );
    reply!(golden, "qr.redeem.with.sealed", QrRedeemed, QrRedeemed {
        access_token: None,
        refresh_token: None,
        sealed: Some("eyJhbGciOiJFQ0RILUVTIiwiZW5jIjoiQTI1NkdDTSJ9..MTIzNDU2Nzg5MDEy.c2VhbGVk.dGFnZ2VkdGFnZ2VkdGFn".into()),
        token_type: "DPoP".into(),
        expires_in_ms: 899_000,
        user: alice(),
        session: SESSION.into(),
    });
    let text = body(r#"{"text":"hello"}"#);
    reply!(
        golden,
        "join",
        Joined<'_>,
        Joined {
            room: room(),
            epoch: EPOCH.into(),
            offset: 42,
            recovered: None,
            messages: vec![by_alice(&text)],
            counts: counts(),
            info: info(),
            me: Me {
                role: Role::Member,
                muted_for_ms: None
            },
        }
    );
    reply!(
        golden,
        "join.with.recovered",
        Joined<'_>,
        Joined {
            room: room(),
            epoch: EPOCH.into(),
            offset: 42,
            recovered: Some(true),
            messages: vec![by_alice(&text)],
            counts: Counts::default(),
            info: RoomInfo::default(),
            me: Me {
                role: Role::Viewer,
                muted_for_ms: None
            },
        }
    );
    reply!(golden, "leave", client::Empty, client::Empty {});
    reply!(
        golden,
        "send",
        Sent,
        Sent {
            offset: Some(42),
            at_ms: Some(1_795_305_226_000),
            ..Sent::default()
        }
    );
    reply!(
        golden,
        "send.with.duplicate",
        Sent,
        Sent {
            offset: Some(42),
            at_ms: Some(1_795_305_226_000),
            duplicate: true,
            ..Sent::default()
        }
    );
    reply!(
        golden,
        "send.with.shed",
        Sent,
        Sent {
            shed: true,
            after_ms: Some(200),
            ..Sent::default()
        }
    );
    reply!(golden, "like", Liked, Liked { value: 4_032 });
    reply!(
        golden,
        "members",
        MembersPage,
        MembersPage {
            members: vec![member("bob", "Bob"), member("carol", "Carol")],
            total: 87,
            cursor: Some("carol".into()),
        }
    );
    reply!(
        golden,
        "history",
        HistoryPage<'_>,
        HistoryPage {
            epoch: EPOCH.into(),
            messages: vec![by_alice(&text)]
        }
    );
}

fn pushes(golden: &mut Golden) {
    frame!(
        golden,
        "push.hello",
        Hello,
        Hello {
            protocol: countersign_protocol::PROTOCOL_VERSION,
            connection: "c_6f0e1a5b00000001".into(),
            ping_interval_ms: 25_000,
            limits: HelloLimits {
                frame_bytes_max: 65_536,
                body_bytes_max: 16_384,
                subscriptions_max: 128,
                like_max: 100,
            },
        }
    );
    room_pushes(golden);
    session_pushes(golden);
    qr_pushes(golden);
}

fn room_pushes(golden: &mut Golden) {
    let text = body(r#"{"text":"hello"}"#);
    frame!(golden, "push.message", MessagePush<'_>, by_alice(&text));
    // A body is delivered as it was written; nothing in it says who sent it.
    let forged = body(r#"{"from":{"id":"mallory"}, "n": 1.0}"#);
    frame!(
        golden,
        "push.message.with.priority",
        MessagePush<'_>,
        MessagePush {
            priority: Priority::High,
            cid: None,
            ..by_alice(&forged)
        }
    );
    frame!(
        golden,
        "push.message.with.source",
        MessagePush<'_>,
        MessagePush {
            from: None,
            source: Some("server".into()),
            cid: None,
            ..by_alice(&text)
        }
    );
    let Counts {
        version,
        viewers,
        members,
        counters,
    } = counts();
    frame!(
        golden,
        "push.counts",
        CountsPush,
        CountsPush {
            room: room(),
            version,
            viewers,
            members,
            counters
        }
    );
    frame!(
        golden,
        "push.room",
        RoomPush,
        RoomPush {
            room: room(),
            version: 3,
            info: info()
        }
    );
    frame!(
        golden,
        "push.presence",
        PresencePush,
        PresencePush {
            room: room(),
            joined: vec![member("carol", "Carol")],
            left: vec![user("bob")],
            reset: false,
        }
    );
    frame!(
        golden,
        "push.presence.with.reset",
        PresencePush,
        PresencePush {
            room: room(),
            joined: Vec::new(),
            left: Vec::new(),
            reset: true,
        }
    );
    frame!(
        golden,
        "push.me",
        MePush,
        MePush {
            room: room(),
            role: Role::Member,
            muted_for_ms: Some(60_000)
        }
    );
    frame!(
        golden,
        "push.gap",
        GapPush,
        GapPush {
            room: room(),
            from: 43,
            to: 56
        }
    );
    frame!(
        golden,
        "push.left",
        LeftPush,
        LeftPush {
            room: room(),
            reason: LeftReason::NotAllowed
        }
    );
    frame!(
        golden,
        "push.reconnect",
        ReconnectPush,
        ReconnectPush { after_ms: 740 }
    );
}

fn session_pushes(golden: &mut Golden) {
    let session = |state| SessionPush {
        state,
        after_ms: None,
        session: None,
        device: None,
        ip: None,
        client: None,
    };
    frame!(
        golden,
        "push.session.expiring",
        SessionPush,
        SessionPush {
            after_ms: Some(60_000),
            ..session(SessionState::Expiring)
        }
    );
    frame!(
        golden,
        "push.session.expired",
        SessionPush,
        session(SessionState::Expired)
    );
    frame!(
        golden,
        "push.session.revoked",
        SessionPush,
        SessionPush {
            session: Some(SESSION.into()),
            ..session(SessionState::Revoked)
        }
    );
    frame!(
        golden,
        "push.session.new_device",
        SessionPush,
        SessionPush {
            session: Some(SESSION.into()),
            device: Some(laptop()),
            ip: Some("192.0.2.7".into()),
            ..session(SessionState::NewDevice)
        }
    );
    frame!(
        golden,
        "push.session.new_device_of_client",
        SessionPush,
        SessionPush {
            session: Some(SESSION.into()),
            device: Some(laptop()),
            ip: Some("192.0.2.7".into()),
            client: Some("Reader".into()),
            ..session(SessionState::NewDevice)
        }
    );
}

fn qr_pushes(golden: &mut Golden) {
    let qr = |qr_id: &str, seq, state| QrPush {
        qr_id: qr_id.into(),
        seq,
        state,
        url: None,
        rotate_in_ms: None,
        user: None,
        number: None,
        matched: false,
        ticket: None,
        expires_in_ms: None,
        reason: None,
    };
    let next = |seq, state| qr(NEXT_QR_ID, seq, state);
    frame!(
        golden,
        "push.qr.waiting",
        QrPush,
        QrPush {
            url: Some(format!("https://login.example/q/{NEXT_QR_ID}")),
            rotate_in_ms: Some(45_000),
            expires_in_ms: Some(255_000),
            ..next(2, QrState::Waiting)
        }
    );
    let scanner = || QrScanner {
        name: Some("Alice".into()),
        avatar: Some(AVATAR.into()),
    };
    frame!(
        golden,
        "push.qr.scanned",
        QrPush,
        QrPush {
            user: Some(scanner()),
            number: Some(QrMatch {
                mode: MatchMode::PhoneTypes,
                form: MatchForm::Digits,
                code: Some("47".into())
            }),
            expires_in_ms: Some(60_000),
            ..next(3, QrState::Scanned)
        }
    );
    frame!(
        golden,
        "push.qr.scanned.with.none",
        QrPush,
        QrPush {
            user: Some(QrScanner {
                name: None,
                avatar: None
            }),
            number: Some(QrMatch {
                mode: MatchMode::None,
                form: MatchForm::Digits,
                code: None
            }),
            expires_in_ms: Some(60_000),
            ..next(3, QrState::Scanned)
        }
    );
    frame!(
        golden,
        "push.qr.confirmed",
        QrPush,
        QrPush {
            ticket: Some(TICKET.into()),
            expires_in_ms: Some(30_000),
            ..next(4, QrState::Confirmed)
        }
    );
    frame!(golden, "push.qr.redeemed", QrPush, next(5, QrState::Redeemed));
    let ended = |state, reason: &str| QrPush {
        reason: Some(reason.into()),
        ..next(4, state)
    };
    frame!(golden, "push.qr.denied", QrPush, ended(QrState::Denied, "user"));
    frame!(
        golden,
        "push.qr.cancelled",
        QrPush,
        ended(QrState::Cancelled, "superseded")
    );
    frame!(
        golden,
        "push.qr.expired",
        QrPush,
        ended(QrState::Expired, "unconfirmed")
    );
}

fn errors(golden: &mut Golden) {
    frame!(
        golden,
        "error",
        ErrorReply,
        error(ErrorCode::NotJoined, "join the room first")
    );
    frame!(
        golden,
        "error.with.null_id",
        ErrorReply,
        ErrorReply {
            id: None,
            ..error(
                ErrorCode::BadRequest,
                "id is an unsigned integer chosen by the client"
            )
        }
    );
    frame!(
        golden,
        "error.with.after_ms",
        ErrorReply,
        ErrorReply {
            after_ms: Some(180),
            ..error(ErrorCode::RateLimited, "at most 5 messages in 1000 ms")
        }
    );
    frame!(
        golden,
        "error.with.state",
        ErrorReply,
        ErrorReply {
            state: Some("expired".into()),
            reason: Some("unredeemed".into()),
            tries_left: None,
            ..error(ErrorCode::AlreadyFinal, "this QR login has ended; open a new one")
        }
    );
    frame!(
        golden,
        "problem",
        Problem,
        problem(ErrorCode::InvalidToken, "wrong user or password")
    );
    frame!(
        golden,
        "problem.with.after_ms",
        Problem,
        Problem {
            after_ms: Some(6_000),
            ..problem(ErrorCode::RateLimited, "too many sign-ins to this account")
        }
    );
    frame!(
        golden,
        "problem.with.state",
        Problem,
        Problem {
            status: 410,
            state: Some("expired".into()),
            reason: Some("idle".into()),
            tries_left: None,
            ..problem(ErrorCode::AlreadyFinal, "this QR login has ended; open a new one")
        }
    );
    frame!(
        golden,
        "problem.with.methods",
        Problem,
        Problem {
            methods: vec!["password".into()],
            ..problem(
                ErrorCode::StepUpRequired,
                "give the account's password to confirm"
            )
        }
    );
}

fn http(golden: &mut Golden) {
    frame!(
        golden,
        "request.accounts",
        NewAccount,
        NewAccount {
            user_id: "alice".into(),
            password: "correct horse".into(),
            name: Some("Alice".into()),
            avatar: Some(AVATAR.into()),
        }
    );
    frame!(
        golden,
        "answer.accounts",
        AccountCreated,
        AccountCreated { user: alice() }
    );
    frame!(
        golden,
        "request.login",
        Login,
        Login {
            user_id: "alice".into(),
            password: "correct horse".into(),
            device: DeviceBody {
                id: "phone-1".into(),
                name: Some("Pixel".into()),
                kind: DeviceKind::Android
            },
        }
    );
    let tokens = || Tokens {
        access_token: ACCESS.into(),
        token_type: "Bearer".into(),
        expires_in_ms: 899_000,
        refresh_token: REFRESH.into(),
        user: alice(),
        session: SESSION.into(),
    };
    frame!(golden, "answer.login", Tokens, tokens());
    frame!(
        golden,
        "request.refresh",
        RefreshBody,
        RefreshBody {
            refresh_token: REFRESH.into()
        }
    );
    frame!(golden, "answer.refresh", Tokens, tokens());
    frame!(
        golden,
        "answer.me",
        MeBody,
        MeBody {
            user: alice(),
            session: SESSION.into(),
            device: laptop()
        }
    );
    frame!(
        golden,
        "answer.jwks",
        Jwks,
        Jwks {
            keys: vec![Jwk {
                kty: "OKP".into(),
                crv: "Ed25519".into(),
                x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
                kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".into(),
                alg: "EdDSA".into(),
                usage: "sig".into(),
            }],
        }
    );
    let scanned = |number| Scanned {
        qr_id: None,
        scan_token: SCAN_TOKEN.into(),
        expires_in_ms: 60_000,
        request: ScanRequest {
            device: laptop(),
            ip: "192.0.2.7".into(),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            age_ms: 12_480,
            same_network: false,
            client: None,
            scopes: Vec::new(),
            full_access: false,
        },
        number,
    };
    frame!(
        golden,
        "answer.scan",
        Scanned,
        scanned(QrMatch {
            mode: MatchMode::PhoneTypes,
            form: MatchForm::Digits,
            code: None
        })
    );
    frame!(
        golden,
        "answer.scan.with.none",
        Scanned,
        scanned(QrMatch {
            mode: MatchMode::None,
            form: MatchForm::Digits,
            code: None
        })
    );
    frame!(
        golden,
        "request.confirm",
        Confirm,
        Confirm {
            scan_token: SCAN_TOKEN.into(),
            code: Some("47".into()),
            password: None,
        }
    );
    frame!(
        golden,
        "request.confirm.with.password",
        Confirm,
        Confirm {
            scan_token: SCAN_TOKEN.into(),
            code: Some("47".into()),
            password: Some("correct horse".into()),
        }
    );
    frame!(
        golden,
        "answer.outcome",
        QrOutcome,
        QrOutcome {
            state: QrState::Redeemed,
            reason: None,
            session: Some(SESSION.into()),
        }
    );
    frame!(
        golden,
        "answer.outcome.with.reason",
        QrOutcome,
        QrOutcome {
            state: QrState::Denied,
            reason: Some("match_failed".into()),
            session: None,
        }
    );
    frame!(
        golden,
        "answer.sessions",
        Sessions,
        Sessions {
            sessions: vec![SessionBody {
                id: SESSION.into(),
                device: laptop(),
                created_at_ms: 1_795_305_226_000,
                last_seen_at_ms: 1_795_305_826_000,
                ip: "192.0.2.7".into(),
                current: true,
                client: None,
            }],
        }
    );
    frame!(
        golden,
        "answer.confirm",
        QrStateBody,
        QrStateBody {
            state: QrState::Confirmed
        }
    );
    frame!(
        golden,
        "request.deny",
        Deny,
        Deny {
            scan_token: SCAN_TOKEN.into()
        }
    );
    frame!(
        golden,
        "answer.deny",
        QrStateBody,
        QrStateBody {
            state: QrState::Denied
        }
    );
}

/// Once for all tests: with `GOLDEN=write` the files are written on the way.
fn all() -> &'static Golden {
    static ALL: OnceLock<Golden> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut golden = Golden::default();
        commands(&mut golden);
        replies(&mut golden);
        pushes(&mut golden);
        errors(&mut golden);
        http(&mut golden);
        pc_over_http(&mut golden);
        oauth::all(&mut golden);
        golden
    })
}

/// The PC's side of a QR login as requests; a poll is answered with a push.
fn pc_over_http(golden: &mut Golden) {
    frame!(
        golden,
        "request.qr",
        client::QrOpen<'_>,
        client::QrOpen {
            device: client::Device {
                id: "pc-1".into(),
                name: Some("Firefox on Linux".into()),
                kind: DeviceKind::Web,
            },
            public_key: None,
            dpop_jkt: None,
            client_id: None,
        }
    );
    frame!(
        golden,
        "answer.qr",
        QrOpened,
        QrOpened {
            qr_id: QR_ID.into(),
            claim: CLAIM.into(),
            url: format!("https://login.example/q/{QR_ID}"),
            expires_in_ms: 300_000,
            rotate_in_ms: 45_000,
            seq: 1,
            state: QrState::Waiting,
        }
    );
    frame!(
        golden,
        "request.answer",
        AnswerBody,
        AnswerBody { code: "47".into() }
    );
    frame!(
        golden,
        "request.redeem",
        RedeemBody,
        RedeemBody {
            ticket: TICKET.into()
        }
    );
    frame!(
        golden,
        "answer.redeem",
        QrRedeemed,
        QrRedeemed {
            access_token: Some(ACCESS.into()),
            refresh_token: Some(REFRESH.into()),
            sealed: None,
            token_type: "Bearer".into(),
            expires_in_ms: 899_000,
            user: alice(),
            session: SESSION.into(),
        }
    );
}

/// What `source` says behind each `before`, up to the next `"`, space, `<` or `(`.
fn named(source: &str, before: &str) -> BTreeSet<String> {
    let names = source.split(before).skip(1);
    names
        .map(|rest| {
            rest.split(['"', ' ', '<', '(', ';'])
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[test]
fn every_frame_is_its_file_and_every_file_a_frame() {
    let known = &all().files;
    let on_disk: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(on_disk, *known);
    for name in on_disk {
        let text = std::fs::read_to_string(folder().join(&name)).unwrap();
        assert!(
            text.starts_with('{') && text.ends_with('}') && !text.contains('\n'),
            "{name}"
        );
    }
}

#[test]
fn every_command_has_its_frame_and_its_reply() {
    let files = &all().files;
    for name in Command::NAMES {
        for kind in ["command", "reply"] {
            assert!(
                files.contains(&format!("{kind}.{name}.json")),
                "{kind}.{name}.json"
            );
        }
    }
}

#[test]
fn every_push_has_its_frame() {
    let files = &all().files;
    for name in named(include_str!("../src/server.rs"), "tag = \"type\", rename = \"") {
        let (own, first) = (format!("push.{name}.json"), format!("push.{name}."));
        assert!(files.iter().any(|f| *f == own || f.starts_with(&first)), "{own}");
    }
    for state in named(include_str!("../src/server.rs"), "QrState::") {
        let state = state.trim_end_matches([',', ')']).to_lowercase();
        if !state.is_empty() && state.chars().all(char::is_alphabetic) {
            assert!(
                files.contains(&format!("push.qr.{state}.json")),
                "push.qr.{state}.json"
            );
        }
    }
}

/// Parts of other values; they have no frame of their own.
const PARTS: [&str; 18] = [
    "Counts",
    "Device",
    "DeviceBody",
    "Frame",
    "From",
    "HelloLimits",
    "Jwk",
    "Me",
    "Member",
    "Position",
    "Profile",
    "PublicDevice",
    "PublicKey",
    "QrMatch",
    "QrScanner",
    "RoomInfo",
    "ScanRequest",
    "SessionBody",
];

#[test]
fn every_type_is_in_a_frame() {
    let types: BTreeSet<String> = all()
        .types
        .iter()
        .map(|t| t.rsplit(':').next().unwrap_or_default().to_owned())
        .collect();
    for source in [
        include_str!("../src/client.rs"),
        include_str!("../src/server.rs"),
        include_str!("../src/http.rs"),
        include_str!("../src/oauth.rs"),
        include_str!("../src/error.rs"),
    ] {
        for name in named(source, "pub struct ") {
            assert!(
                types.contains(&name) || PARTS.contains(&name.as_str()),
                "{name} is in no golden file"
            );
        }
    }
}

/// The smallest forms a client may send: what is left out has its default.
#[test]
fn what_may_be_left_out_has_its_default() {
    for (short, full) in [
        (
            r#"{"id":7,"type":"send","room":"chat:lobby","body":{"text":"hello"}}"#,
            r#"{"id":7,"type":"send","room":"chat:lobby","body":{"text":"hello"},"priority":"normal"}"#,
        ),
        (
            r#"{"type":"qr.open","device":{"id":"pc-1"},"id":7,"later":[1]}"#,
            r#"{"id":7,"type":"qr.open","device":{"id":"pc-1","kind":"other"}}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(write_again(short)).unwrap(), full);
    }
}

/// A frame without a readable id is answered with `"id":null`, as `error.with.null_id.json` shows.
#[test]
fn the_null_id_is_that_of_the_parser() {
    let file = std::fs::read_to_string(folder().join("error.with.null_id.json")).unwrap();
    let shown: ErrorReply = serde_json::from_str(&file).unwrap();
    let Err(FrameError::Refused { id, code, message }) = client::parse(r#"{"type":"ping"}"#) else {
        panic!("a command without an id was taken");
    };
    assert_eq!((shown.id, shown.code, shown.message), (id, code, message));
}
