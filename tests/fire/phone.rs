//! A phone over a line that fails: it repeats what was not answered, and asks how it ended.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::common::{Answer, Person};
use super::link::{Calls, patience};
use super::pc::{Shown, is_final, text};

const TRIES_MAX: u32 = 60;

/// What the person with the phone does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Will {
    Confirm,
    /// Types the wrong number until it is over.
    Mistype,
    Deny,
    /// Confirms, and takes it back.
    Repent,
    /// Scans, and puts the phone away.
    Forget,
    /// Scans, and signs the phone out.
    SignOut,
}

/// How it ended for the phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PhoneEnd {
    /// As `/outcome` says.
    Outcome {
        state: String,
        reason: Option<String>,
        session: Option<String>,
    },
    /// Another phone was first.
    Beaten,
    /// It had ended before this phone scanned it.
    TooLate,
    Forgot,
    SignedOut,
}

pub(crate) struct Phone<'a> {
    pub(crate) calls: Calls,
    pub(crate) person: &'a Person,
    pub(crate) will: Will,
    pub(crate) screen: watch::Receiver<Shown>,
    /// Where the PC types: what its person does, looking at this phone.
    pub(crate) types: watch::Sender<Option<String>>,
    pub(crate) tries: u32,
    /// It has been told that it has scanned.
    pub(crate) has_scanned: bool,
    /// It was told the number, which the PC is to type.
    pub(crate) shows_number: bool,
    /// Its person types a user code, where one is shown, in place of scanning.
    pub(crate) types_codes: bool,
}

enum Scan {
    Token(String),
    End(PhoneEnd),
}

impl Phone<'_> {
    async fn say(&mut self, method: &'static str, path: &str, body: Option<Value>) -> Answer {
        loop {
            let mut ask_for = self
                .calls
                .request(method, path)
                .header(
                    "authorization",
                    &format!("Bearer {}", self.person.tokens.access_token),
                )
                .header("countersign-device", &self.person.device);
            if let Some(body) = &body {
                ask_for = ask_for.json(body);
            }
            if let Some(answer) = self.calls.ask(&ask_for, patience(self.tries / 4)).await {
                return answer;
            }
            self.again(path);
        }
    }

    fn again(&mut self, what: &str) {
        self.tries += 1;
        assert!(self.tries <= TRIES_MAX, "a phone tried {TRIES_MAX} times: {what}");
    }

    /// Waits until the screen shows something.
    async fn sees<T>(&mut self, what: impl Fn(&Shown) -> Option<T>) -> Option<T> {
        loop {
            {
                let shown = self.screen.borrow_and_update();
                if let Some(seen) = what(&shown) {
                    return Some(seen);
                }
                if shown.over {
                    return None;
                }
            }
            self.screen.changed().await.ok()?;
        }
    }

    pub(crate) async fn run(&mut self) -> PhoneEnd {
        let Some(mut qr_id) = self.sees(|s| s.qr_id.clone()).await else {
            return PhoneEnd::TooLate;
        };
        let mut token = match self.scan(&mut qr_id).await {
            Scan::Token(token) => token,
            Scan::End(end) => return end,
        };
        match self.will {
            Will::Forget => return PhoneEnd::Forgot,
            Will::SignOut => {
                let answer = self.say("POST", "/v1/logout", None).await;
                // Said again, it finds that it is done.
                assert!(matches!(answer.status, 204 | 401), "{}", answer.text());
                return PhoneEnd::SignedOut;
            }
            Will::Deny => self.deny(&mut qr_id, &mut token).await,
            Will::Confirm | Will::Mistype | Will::Repent => {
                let code = if self.typed_code().is_some() {
                    // The number was matched by that.
                    Some(None)
                } else if self.shows_number {
                    self.sees(|s| s.matched.then_some(None)).await
                } else {
                    self.sees(|s| s.digits.clone().map(Some)).await
                };
                if let Some(code) = code {
                    self.confirm(&mut qr_id, &mut token, code).await;
                }
                if self.will == Will::Repent {
                    self.deny(&mut qr_id, &mut token).await;
                }
            }
        }
        self.outcome(&qr_id).await
    }

    /// The user code, where it is typed and not scanned.
    fn typed_code(&self) -> Option<String> {
        let shown = self.screen.borrow().user_code.clone();
        // Who came by the code cannot mistake it any more.
        shown.filter(|_| self.types_codes && self.will != Will::Mistype)
    }

    async fn scan(&mut self, qr_id: &mut String) -> Scan {
        loop {
            let answer = match self.typed_code() {
                Some(code) => {
                    let body = json!({"user_code": code});
                    self.say("POST", "/v1/qr/scan", Some(body)).await
                }
                None => self.say("POST", &format!("/v1/qr/{qr_id}/scan"), None).await,
            };
            let name = (answer.status != 200).then(|| text(&answer.json()["code"]));
            match (answer.status, name.as_deref()) {
                (200, _) => {
                    self.has_scanned = true;
                    let answer = answer.json();
                    self.show_number(answer["match"]["code"].as_str());
                    return Scan::Token(text(&answer["scan_token"]));
                }
                (409, Some("already_scanned")) if !self.has_scanned => return Scan::End(PhoneEnd::Beaten),
                // It was confirmed by this phone, and rescanned for a copy of a request.
                (409, Some("already_confirmed")) => return Scan::Token(String::new()),
                // Whether this phone had any part in it, the outcome says.
                (409 | 410, Some("already_final")) => return Scan::End(self.outcome(qr_id).await),
                // The code on the screen is another by now.
                (404, _) => {
                    let old = qr_id.clone();
                    match self.sees(|s| s.qr_id.clone().filter(|new| *new != old)).await {
                        Some(new) => *qr_id = new,
                        None => return Scan::End(PhoneEnd::TooLate),
                    }
                }
                _ => panic!("scan: {}", answer.text()),
            }
            self.again("scan");
        }
    }

    /// What is made of a number by who types it.
    fn typed<'a>(&self, digits: &'a str) -> &'a str {
        match (self.will, digits) {
            (Will::Mistype, "00") => "01",
            (Will::Mistype, _) => "00",
            _ => digits,
        }
    }

    fn show_number(&mut self, digits: Option<&str>) {
        let Some(digits) = digits else { return };
        self.shows_number = true;
        if matches!(self.will, Will::Confirm | Will::Mistype | Will::Repent) {
            let typed = self.typed(digits).to_owned();
            self.types.send_replace(Some(typed));
        }
    }

    /// With the code of the screen, where it is the phone that types.
    async fn confirm(&mut self, qr_id: &mut String, token: &mut String, code: Option<String>) {
        loop {
            let mut body = json!({"scan_token": token});
            if let Some(digits) = &code {
                body["code"] = json!(self.typed(digits));
            }
            let answer = self
                .say("POST", &format!("/v1/qr/{qr_id}/confirm"), Some(body))
                .await;
            let name = (answer.status != 200).then(|| text(&answer.json()["code"]));
            match (answer.status, name.as_deref()) {
                (200, _) if self.will != Will::Mistype => return,
                (409, Some("already_confirmed")) | (409 | 410, Some("already_final")) => return,
                (422, Some("match_failed")) if self.will == Will::Mistype => {}
                // A copy of the scan was later, and this token is void.
                (403, Some("scan_token_invalid")) => match self.scan(qr_id).await {
                    Scan::Token(new) => *token = new,
                    Scan::End(_) => return,
                },
                _ => panic!("confirm: {}", answer.text()),
            }
            self.again("confirm");
        }
    }

    async fn deny(&mut self, qr_id: &mut String, token: &mut String) {
        loop {
            let body = json!({"scan_token": token});
            let answer = self
                .say("POST", &format!("/v1/qr/{qr_id}/deny"), Some(body))
                .await;
            let name = (answer.status != 200).then(|| text(&answer.json()["code"]));
            match (answer.status, name.as_deref()) {
                (200, _) | (409 | 410, Some("already_final")) => return,
                (403, Some("scan_token_invalid")) => match self.scan(qr_id).await {
                    Scan::Token(new) => *token = new,
                    Scan::End(_) => return,
                },
                _ => panic!("deny: {}", answer.text()),
            }
            self.again("deny");
        }
    }

    /// How it ended. Asked until it has.
    async fn outcome(&mut self, qr_id: &str) -> PhoneEnd {
        loop {
            let answer = self.say("GET", &format!("/v1/qr/{qr_id}/outcome"), None).await;
            match answer.status {
                200 => {
                    let outcome = answer.json();
                    let state = text(&outcome["state"]);
                    if is_final(&state) {
                        let optional = |name: &str| outcome[name].as_str().map(str::to_owned);
                        return PhoneEnd::Outcome {
                            state,
                            reason: optional("reason"),
                            session: optional("session"),
                        };
                    }
                }
                // Told to everybody but the scanner. An end is kept for longer than any line here fails.
                404 if !self.has_scanned => return PhoneEnd::TooLate,
                _ => panic!("outcome: {}", answer.text()),
            }
        }
    }
}
