//! A third gateway in miniature, for QR logins: PCs on WebSockets, phones on kept connections of HTTP. It can be told to do
//! wrong, and counts how often it did.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_loadtest::engine::upgrade::{accept, header};
use countersign_protocol::client::{Command, parse};
use countersign_protocol::codec::json_frame;
use serde_json::{Value, json};

use super::talk::{frames, hello, http, listen};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Pushes come so many milliseconds after what causes them.
    Late(u64),
    /// Every n-th login is not pushed that it is confirmed.
    Lose(u64),
    /// Every n-th login is pushed twice that it is scanned.
    Repeat(u64),
    /// Every n-th login is pushed an event of another one.
    Stray(u64),
    /// Every n-th scan is refused.
    Refuse(u64),
    /// Every n-th PC is signed in as somebody else.
    WrongUser(u64),
    /// Every n-th phone is told the ticket.
    Leak(u64),
}

/// A login, and where its PC is told of it.
struct Login {
    number: u64,
    pc: TcpStream,
    user: String,
}

#[derive(Default)]
struct State {
    logins: HashMap<String, Login>,
    opened: u64,
    planted: u64,
}

struct Shared {
    fault: Fault,
    state: Mutex<State>,
}

/// The gateway; its threads end with their connections.
pub(crate) struct Desk {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

/// A secret that is as long as those of the contract.
fn secret(kind: &str, number: u64) -> String {
    format!("{kind}-{number:0>42}")
}

impl Desk {
    pub(crate) fn start(fault: Fault) -> Desk {
        let shared = Arc::new(Shared {
            fault,
            state: Mutex::default(),
        });
        let addr = listen(&shared, serve);
        Desk { addr, shared }
    }

    /// How often the fault was planted.
    pub(crate) fn planted(&self) -> u64 {
        self.shared.state.lock().unwrap().planted
    }
}

impl Shared {
    /// Whether the fault meets this login.
    fn meets(&self, state: &mut State, number: u64, of: impl Fn(Fault) -> Option<u64>) -> bool {
        let meets = of(self.fault).is_some_and(|n| number.is_multiple_of(n));
        state.planted += u64::from(meets);
        meets
    }
}

/// HTTP until an upgrade, then frames. `None`: the connection is over.
fn serve(shared: &Shared, stream: TcpStream) -> Option<()> {
    let asked = http(stream, |head, path, body| {
        let user = header(head, "authorization")?.strip_prefix("Bearer ")?;
        let (status, answer) = call(shared, path.strip_prefix("/v1/qr/")?, user, body)?;
        Some((status, answer.to_string()))
    })?;
    upgrade(shared, asked.reader, asked.out, &asked.head)
}

/// A phone's call.
fn call(shared: &Shared, path: &str, user: &str, body: &[u8]) -> Option<(u16, Value)> {
    let (qr_id, what) = path.split_once('/')?;
    if let Fault::Late(ms) = shared.fault {
        std::thread::sleep(Duration::from_millis(ms));
    }
    let mut state = shared.state.lock().unwrap();
    let state = &mut *state;
    let login = state.logins.get_mut(qr_id)?;
    user.clone_into(&mut login.user);
    let (number, mut pc) = (login.number, login.pc.try_clone().ok()?);
    let mut push = |seq: u64, qr_id: &str, more: Value| {
        let mut push = json!({"type": "qr", "qr_id": qr_id, "seq": seq});
        push.as_object_mut()?.extend(more.as_object()?.clone());
        pc.write_all(&json_frame(push.to_string().as_bytes())).ok()
    };
    if what == "scan" {
        if shared.meets(state, number, |f| {
            if let Fault::Refuse(n) = f { Some(n) } else { None }
        }) {
            return Some((409, json!({"type": "about:blank", "code": "already_scanned"})));
        }
        let scanned = json!({"state": "scanned", "match": {"mode": "phone_types", "code": "47"}});
        push(2, qr_id, scanned.clone())?;
        if shared.meets(state, number, |f| {
            if let Fault::Repeat(n) = f { Some(n) } else { None }
        }) {
            push(2, qr_id, scanned.clone())?;
        }
        if shared.meets(state, number, |f| {
            if let Fault::Stray(n) = f { Some(n) } else { None }
        }) {
            push(2, "another", scanned)?;
        }
        let request = json!({
            "device": {"kind": "pc"}, "ip": "127.0.0.1", "age_ms": 1, "same_network": false
        });
        let answer = json!({
            "scan_token": secret("s", number), "expires_in_ms": 60_000, "request": request,
            "match": {"mode": "phone_types"}
        });
        return Some((200, answer));
    }
    let confirm: Value = serde_json::from_slice(body).ok()?;
    if confirm["code"] != "47" || confirm["scan_token"] != secret("s", number).as_str() {
        return Some((422, json!({"type": "about:blank", "code": "match_failed"})));
    }
    if !shared.meets(
        state,
        number,
        |f| if let Fault::Lose(n) = f { Some(n) } else { None },
    ) {
        push(
            3,
            qr_id,
            json!({"state": "confirmed", "ticket": secret("t", number)}),
        )?;
    }
    let mut answer = json!({"state": "confirmed"});
    if shared.meets(
        state,
        number,
        |f| if let Fault::Leak(n) = f { Some(n) } else { None },
    ) {
        answer["trace"] = json!(format!("ticket={}", secret("t", number)));
    }
    Some((200, answer))
}

fn upgrade(shared: &Shared, mut reader: BufReader<TcpStream>, mut out: TcpStream, head: &str) -> Option<()> {
    let answer = format!(
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
        accept(header(head, "sec-websocket-key")?)
    );
    out.write_all(answer.as_bytes()).ok()?;
    out.write_all(&hello("c_1".to_owned())).ok()?;
    frames(&mut reader, |text| {
        command(shared, &out, std::str::from_utf8(text).ok()?)
    });
    out.shutdown(Shutdown::Both).ok()
}

/// Does a PC's command. All that a PC is told is written under the lock, so that nothing is mixed.
fn command(shared: &Shared, mut out: &TcpStream, text: &str) -> Option<()> {
    let frame = parse(text).ok()?;
    let mut state = shared.state.lock().unwrap();
    let state = &mut *state;
    let mut ok = json!({"id": frame.id, "type": "ok"});
    let mut then = None;
    match frame.command {
        Command::QrOpen(_) => {
            state.opened += 1;
            let number = state.opened;
            let qr_id = format!("q{number}");
            ok.as_object_mut()?.extend(
                json!({
                    "qr_id": qr_id, "claim": secret("c", number), "url": "u", "expires_in_ms": 1, "rotate_in_ms": 1,
                    "seq": 1, "state": "waiting"
                })
                .as_object()?
                .clone(),
            );
            let login = Login {
                number,
                pc: out.try_clone().ok()?,
                user: String::new(),
            };
            state.logins.insert(qr_id, login);
        }
        Command::QrRedeem(redeem) => {
            let login = state.logins.get(&*redeem.qr_id)?;
            let (number, mut user) = (login.number, login.user.clone());
            if redeem.ticket != secret("t", number) || redeem.claim != secret("c", number) {
                return None;
            }
            if shared.meets(state, number, |f| {
                if let Fault::WrongUser(n) = f {
                    Some(n)
                } else {
                    None
                }
            }) {
                "mallory".clone_into(&mut user);
            }
            let fields = json!({
                "access_token": secret("a", number), "refresh_token": secret("r", number), "token_type": "Bearer",
                "expires_in_ms": 1, "user": {"id": user}, "session": format!("s_{number}")
            });
            ok.as_object_mut()?.extend(fields.as_object()?.clone());
            then = Some(json!({"type": "qr", "qr_id": redeem.qr_id, "seq": 4, "state": "redeemed"}));
        }
        _ => {}
    }
    for frame in [Some(ok), then].into_iter().flatten() {
        out.write_all(&json_frame(frame.to_string().as_bytes())).ok()?;
    }
    Some(())
}
