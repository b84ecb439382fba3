//! Clients as somebody's program, phones as somebody's hand.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign::config::{Client, ClientSecret, Config};
use countersign_protocol::oauth::{DEVICE_CODE_GRANT, REFRESH_TOKEN_GRANT};
use serde_json::{Value, json};

use crate::common::qr::text;
use crate::common::{Answer, Person, TestServer, http, request};

/// Of characters that mean something in forms and headers.
pub(crate) const SECRET: &str = "s3cret:with%41+and&more=0123456789";
pub(crate) const OTHER_SECRET: &str = "another-secret-0123456789abcdef";
pub(crate) const TV_AUDIENCE: &str = "https://api.tv.example";

/// How a client says who it is.
#[derive(Clone, Copy)]
pub(crate) enum As {
    Public(&'static str),
    Header(&'static str, &'static str),
    Form(&'static str, &'static str),
}

pub(crate) const READER: As = As::Public("reader");
pub(crate) const TV: As = As::Header("tv", SECRET);
pub(crate) const TV_BY_FORM: As = As::Form("tv", SECRET);
pub(crate) const OTHER: As = As::Header("other", OTHER_SECRET);
pub(crate) const GUEST: As = As::Public("guest");

/// Four clients: `reader` (public), `tv` and `other` (confidential), `guest` (public, a third party's).
pub(crate) fn clients(config: &mut Config) {
    let client = |name: &str| Client {
        name: name.into(),
        ..Client::default()
    };
    let mut tv = client("Living room");
    tv.secret = Some(ClientSecret::new(SECRET.into()));
    tv.audience = Some(TV_AUDIENCE.into());
    tv.scopes.push("watch".into());
    let mut other = client("Other");
    other.secret = Some(ClientSecret::new(OTHER_SECRET.into()));
    let mut guest = client("Guest");
    guest.third_party = true;
    for (id, client) in [
        ("reader", client("Reader")),
        ("tv", tv),
        ("other", other),
        ("guest", guest),
    ] {
        config.clients.insert(id.into(), client);
    }
    config.limits.qr_open_rate.burst = 1_000;
    config.limits.qr_phone_rate.burst = 1_000;
}

pub(crate) async fn server() -> TestServer {
    TestServer::start(clients).await
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            write!(out, "%{b:02X}").unwrap();
        }
        out
    })
}

pub(crate) fn form_of(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", encode(id), encode(secret)))
    )
}

/// A form to `/oauth/<what>`.
pub(crate) fn form(server: &TestServer, what: &str, body: &str) -> http::Request {
    request(server.addr, "POST", &format!("/oauth/{what}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.as_bytes())
}

/// A client's request.
pub(crate) fn ask(server: &TestServer, client: As, what: &str, fields: &[(&str, &str)]) -> http::Request {
    let mut fields = fields.to_vec();
    match client {
        As::Public(id) => fields.push(("client_id", id)),
        As::Form(id, secret) => fields.extend([("client_id", id), ("client_secret", secret)]),
        As::Header(..) => {}
    }
    let request = form(server, what, &form_of(&fields));
    match client {
        As::Header(id, secret) => request.header("authorization", &basic(id, secret)),
        _ => request,
    }
}

/// Asserts that an answer is this error.
pub(crate) fn refused(answer: &Answer, status: u16, error: &str) {
    let told = answer.json();
    assert_eq!((answer.status, &told["error"]), (status, &json!(error)), "{told}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

/// A device authorization.
pub(crate) struct Screen<'a> {
    pub(crate) server: &'a TestServer,
    pub(crate) client: As,
    pub(crate) device: Option<&'static str>,
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) qr_id: String,
    pub(crate) opened: Value,
}

impl<'a> Screen<'a> {
    pub(crate) async fn open(server: &'a TestServer, client: As, scope: &str) -> Self {
        Self::open_on(server, client, scope, None).await
    }

    pub(crate) async fn open_on(
        server: &'a TestServer,
        client: As,
        scope: &str,
        device: Option<&'static str>,
    ) -> Self {
        let fields = [
            ("scope", scope),
            ("device_name", "Big screen"),
            ("device_kind", "tv"),
        ];
        let mut asked = ask(server, client, "device_authorization", &fields);
        if let Some(device) = device {
            asked = asked.header("countersign-device", device);
        }
        let answer = asked.send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let opened = answer.json();
        Self {
            server,
            client,
            device,
            device_code: text(&opened["device_code"]),
            user_code: text(&opened["user_code"]),
            qr_id: text(&opened["qr_id"]),
            opened,
        }
    }

    /// Asks for the tokens.
    pub(crate) async fn exchange(&self) -> Answer {
        self.exchange_as(self.client).await
    }

    pub(crate) async fn exchange_as(&self, client: As) -> Answer {
        let fields = [
            ("grant_type", DEVICE_CODE_GRANT),
            ("device_code", &self.device_code),
        ];
        ask(self.server, client, "token", &fields).send().await
    }

    /// A phone types the code and says yes.
    pub(crate) async fn confirmed_by(&self, phone: &Person) {
        let token = text(&by_code(phone, &self.user_code).await.json()["scan_token"]);
        let answer = crate::common::qr::confirm(phone, &self.qr_id, &token, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Confirmed and exchanged.
    pub(crate) async fn tokens(&self, phone: &Person) -> Value {
        self.confirmed_by(phone).await;
        let answer = self.exchange().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Exchanges a refresh token.
    pub(crate) async fn refresh(&self, token: &Value) -> Answer {
        refresh(self.server, self.client, token, self.device).await
    }
}

pub(crate) async fn refresh(server: &TestServer, client: As, token: &Value, device: Option<&str>) -> Answer {
    let fields = [
        ("grant_type", REFRESH_TOKEN_GRANT),
        ("refresh_token", token.as_str().unwrap()),
    ];
    let mut asked = ask(server, client, "token", &fields);
    if let Some(device) = device {
        asked = asked.header("countersign-device", device);
    }
    asked.send().await
}

/// A phone types a user code.
pub(crate) async fn by_code(phone: &Person, code: &str) -> Answer {
    let body = json!({"user_code": code});
    phone.request("POST", "/v1/qr/scan").json(&body).send().await
}

/// A call with a token, and a device where one is given.
pub(crate) async fn with_token(
    server: &TestServer,
    path: &str,
    token: &Value,
    device: Option<&str>,
) -> Answer {
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let mut asked = request(server.addr, "GET", path).header("authorization", &bearer);
    if let Some(device) = device {
        asked = asked.header("countersign-device", device);
    }
    asked.send().await
}

/// What a token says, unverified.
pub(crate) fn claims(token: &Value) -> Value {
    part(token, 1)
}

pub(crate) fn part(token: &Value, n: usize) -> Value {
    let part = token.as_str().unwrap().split('.').nth(n).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
