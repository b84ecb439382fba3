//! Accounts and sessions for the connections of a run, made over HTTP before anything is measured.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_protocol::client::DeviceKind;
use countersign_protocol::http::{DeviceBody, Login, NewAccount, Tokens};
use serde::{Deserialize, Serialize};

use crate::clock::{self, Nanos, SECOND, seconds};
use crate::engine::upgrade::Identity;
use crate::error::{Error, Result};
use crate::http::{Client, Response};
use crate::output::Progress;
use crate::target::{Sources, Target};

/// Most tries of one call that is answered 429 or 503.
const TRIES_MAX: usize = 50;
/// Longest pause between two tries, seconds.
const PAUSE_S_MAX: u64 = 5;

/// A signed-in user with its device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub user: String,
    pub identity: Identity,
    /// How long the token lived when it was made.
    pub expires_in_ms: u64,
}

/// How many accounts, and how many at once.
#[derive(Debug, Clone)]
pub struct AccountPlan {
    /// Users `lt_<run>_<n>`.
    pub users: usize,
    /// Calls at once: a password costs the server about 20 ms of a core.
    pub at_once: usize,
    /// Not later than this, on the monotonic clock.
    pub until: Nanos,
}

/// What making accounts took.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct AccountCost {
    /// Users registered and signed in.
    pub users: usize,
    /// Calls answered 429 or 503 and made again.
    pub refused: usize,
    /// Duration, seconds.
    pub seconds: f64,
}

/// Registers and signs in `plan.users` users. Order of the result is that of their numbers.
pub fn make(
    target: &Target,
    sources: Sources,
    run: u32,
    plan: &AccountPlan,
    progress: &Progress,
) -> Result<(Vec<Session>, AccountCost)> {
    let began = clock::now();
    let next = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    let made: Mutex<Vec<Option<Session>>> = Mutex::new(vec![None; plan.users]);
    let bar = progress.bar("accounts", plan.users);
    let workers = plan.at_once.clamp(1, plan.users.max(1));
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                let (next, refused, made, bar) = (&next, &refused, &made, &bar);
                scope.spawn(move || {
                    // Spread as the sockets are: limits per address count these connections too.
                    let source = sources.of(worker * 1_000);
                    let mut client = Client::new(target.clone(), source);
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= plan.users {
                            return Ok(());
                        }
                        let session = one(&mut client, run, n, plan.until, refused)?;
                        if let Ok(mut made) = made.lock() {
                            made[n] = Some(session);
                        }
                        bar.inc();
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|h| {
                h.join()
                    .unwrap_or_else(|_| Err(Error::Process("an account worker ended".to_owned())))
            })
            .collect()
    });
    bar.done();
    results.into_iter().collect::<Result<()>>()?;
    let sessions: Option<Vec<Session>> = made.into_inner().ok().and_then(|m| m.into_iter().collect());
    let sessions = sessions.ok_or_else(|| Error::Process("an account is missing".to_owned()))?;
    let cost = AccountCost {
        users: sessions.len(),
        refused: refused.load(Ordering::Relaxed),
        seconds: seconds(clock::now() - began),
    };
    Ok((sessions, cost))
}

fn one(client: &mut Client, run: u32, n: usize, until: Nanos, refused: &AtomicUsize) -> Result<Session> {
    let user_id = format!("lt_{run:08x}_{n:05}");
    let device = format!("lt-{run:08x}-{n:05}");
    let password = format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
    let account = NewAccount {
        user_id: user_id.clone(),
        password: password.clone(),
        name: None,
        avatar: None,
    };
    let response = patient(client, "/v1/accounts", &account, until, refused)?;
    // 409: an answer was lost and the call made again; nobody else takes names of this run.
    if !matches!(response.status, 201 | 409) {
        return Err(unexpected("POST /v1/accounts", &response));
    }
    let login = Login {
        user_id: user_id.clone(),
        password,
        device: DeviceBody {
            id: device.clone(),
            name: Some("load tester".to_owned()),
            kind: DeviceKind::Other,
        },
    };
    let response = patient(client, "/v1/login", &login, until, refused)?;
    if response.status != 200 {
        return Err(unexpected("POST /v1/login", &response));
    }
    let tokens: Tokens = serde_json::from_slice(&response.body).map_err(|e| Error::Http {
        call: "POST /v1/login".to_owned(),
        why: e.to_string(),
    })?;
    Ok(Session {
        user: user_id,
        identity: Identity {
            device: Some(device),
            token: Some(tokens.access_token),
        },
        expires_in_ms: tokens.expires_in_ms,
    })
}

/// Makes a call, again after a pause while it is answered 429 or 503.
fn patient<T: Serialize>(
    client: &mut Client,
    path: &str,
    body: &T,
    until: Nanos,
    refused: &AtomicUsize,
) -> Result<Response> {
    let mut tries = 0;
    loop {
        let response = client.post(path, body)?;
        if !matches!(response.status, 429 | 503) {
            return Ok(response);
        }
        refused.fetch_add(1, Ordering::Relaxed);
        tries += 1;
        let pause = response.after_s.unwrap_or(1).clamp(1, PAUSE_S_MAX);
        if tries >= TRIES_MAX || clock::now() + pause * SECOND > until {
            return Err(unexpected(path, &response));
        }
        std::thread::sleep(Duration::from_secs(pause));
    }
}

fn unexpected(call: &str, response: &Response) -> Error {
    let body: String = String::from_utf8_lossy(&response.body)
        .chars()
        .take(200)
        .collect();
    Error::Http {
        call: call.to_owned(),
        why: format!("status {} {body}", response.status),
    }
}
