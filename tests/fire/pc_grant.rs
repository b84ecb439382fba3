//! The same as an app that knows OAuth: it opens a device authorization, and asks for its tokens as often as it may.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_protocol::oauth::DEVICE_CODE_GRANT;
use serde_json::Value;

use super::common::http::Request;
use super::pc::{Ending, Habit, Pc, is_final, text};

/// How much rarer it asks once it was told to slow down (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The client that there is while the demo page is served.
const CLIENT: &str = "demo";

impl Pc {
    /// A form to `/oauth/<what>`.
    fn form(&self, what: &str, fields: &[(&str, &str)]) -> Request {
        let pair = |(name, value): &(&str, &str)| format!("&{name}={}", value.replace(':', "%3A"));
        let body: String = fields.iter().map(pair).collect();
        self.calls
            .request("POST", &format!("/oauth/{what}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("countersign-device", &self.device)
            .body(format!("client_id={CLIENT}{body}").as_bytes())
    }

    pub(crate) async fn by_device_code(&mut self) -> Ending {
        let mut every = self.authorized().await;
        let (mut asked, mut cancelled) = (0, false);
        loop {
            match self.habit {
                Habit::Leaves(after) if asked >= after => return Ending::Left,
                Habit::Cancels(after) if asked >= after && !cancelled => {
                    self.cancel().await;
                    cancelled = true;
                }
                _ => {}
            }
            let (_, device_code) = self.claim.clone().unwrap();
            let exchange = self.form(
                "token",
                &[("grant_type", DEVICE_CODE_GRANT), ("device_code", &device_code)],
            );
            let patience = self.patience();
            let Some(answer) = self.calls.ask(&exchange, patience).await else {
                self.again().await;
                continue;
            };
            let told = answer.json();
            match (answer.status, told["error"].as_str()) {
                (200, None) => return granted(&told),
                (400, Some("authorization_pending")) => {}
                (400, Some("slow_down")) => every += SLOWER,
                (400, Some(error @ ("access_denied" | "expired_token"))) => return self.ended(error).await,
                _ => panic!("{}", answer.text()),
            }
            asked += 1;
            tokio::time::sleep(every).await;
        }
    }

    /// Opens; how often it may ask.
    async fn authorized(&mut self) -> Duration {
        let asked = self.form("device_authorization", &[("scope", "openid")]);
        loop {
            let patience = self.patience();
            let Some(answer) = self.calls.ask(&asked, patience).await else {
                self.again().await;
                continue;
            };
            assert_eq!(answer.status, 200, "{}", answer.text());
            let opened = answer.json();
            let (qr_id, device_code) = (text(&opened["qr_id"]), text(&opened["device_code"]));
            // What proves the claim is what is exchanged.
            self.ticket = Some(device_code.clone());
            self.claim = Some((qr_id.clone(), device_code));
            let user_code = Some(text(&opened["user_code"]));
            self.screen.send_modify(|shown| {
                shown.qr_id = Some(qr_id);
                (shown.digits, shown.user_code) = (user_code.clone(), user_code);
            });
            return Duration::from_secs(opened["interval"].as_u64().unwrap());
        }
    }

    async fn cancel(&mut self) {
        loop {
            let (cancel, patience) = (self.claiming("DELETE", ""), self.patience());
            match self.calls.ask(&cancel, patience).await {
                Some(answer) if answer.status == 204 => return,
                Some(answer) => {
                    assert_eq!(answer.json()["code"], "already_final", "{}", answer.text());
                    return;
                }
                None => self.again().await,
            }
        }
    }

    /// OAuth does not say why; whoever has the device code is told all the same.
    async fn ended(&mut self, error: &str) -> Ending {
        loop {
            let (look, patience) = (self.claiming("GET", ""), self.patience());
            let Some(answer) = self.calls.ask(&look, patience).await else {
                self.again().await;
                continue;
            };
            assert_eq!(answer.status, 200, "{}", answer.text());
            let event = answer.json();
            let (state, reason) = (text(&event["state"]), text(&event["reason"]));
            assert!(is_final(&state) && state != "redeemed", "{error}: {event}");
            assert_eq!(error == "expired_token", state == "expired", "{error}: {event}");
            return Ending::Final { state, reason };
        }
    }
}

/// Whose session it is stands in the access token.
fn granted(told: &Value) -> Ending {
    let access = text(&told["access_token"]);
    let claims = access.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    Ending::SignedIn {
        user: text(&claims["sub"]),
        session: text(&claims["sid"]),
        access,
        refresh: text(&told["refresh_token"]),
    }
}
