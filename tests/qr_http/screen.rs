//! A PC that shows a code, over any of the three ways there are.

use countersign_protocol::client::DeviceKind;
use serde_json::{Value, json};

use crate::common::events::Events;
use crate::common::http::Request;
use crate::common::qr::text;
use crate::common::{Answer, Client, TestServer, request, within};

/// How the PC hears of changes, and how it says what it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    WebSocket,
    Events,
    Polling,
}

enum Link {
    WebSocket(Box<Client>),
    Events(Box<Events>),
    Polling,
}

pub(crate) const DEVICE: &str = "pc-1";

/// The PC.
pub(crate) struct Screen {
    pub(crate) addr: std::net::SocketAddr,
    pub(crate) qr_id: String,
    pub(crate) claim: String,
    link: Link,
    /// The newest event it has seen.
    seen: u64,
}

fn opening() -> Value {
    json!({"device": {"id": DEVICE, "name": "Office PC", "kind": DeviceKind::Pc}})
}

/// Opens over HTTP; nobody watches it yet.
pub(crate) async fn open_over_http(server: &TestServer) -> Answer {
    request(server.addr, "POST", "/v1/qr")
        .header("user-agent", "Office browser 1.0")
        .json(&opening())
        .send()
        .await
}

impl Screen {
    pub(crate) async fn open(server: &TestServer, over: Over) -> Self {
        if over == Over::WebSocket {
            let mut client = server.anonymous().await;
            let opened = client.ok("qr.open", opening()).await;
            return Self::opened(server, &opened, Link::WebSocket(Box::new(client)));
        }
        let mut screen = Self::opened_over_http(server, &open_over_http(server).await);
        if over == Over::Events {
            screen.stream(Some(1)).await;
        }
        screen
    }

    /// The PC that got this answer; it polls.
    pub(crate) fn opened_over_http(server: &TestServer, answer: &Answer) -> Self {
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (201, Some("no-store")),
            "{}",
            answer.text()
        );
        Self::opened(server, &answer.json(), Link::Polling)
    }

    fn opened(server: &TestServer, opened: &Value, link: Link) -> Self {
        assert_eq!((&opened["state"], &opened["seq"]), (&json!("waiting"), &json!(1)));
        let qr_id = text(&opened["qr_id"]);
        assert_eq!(opened["url"], format!("{}/q/{qr_id}", server.url("")));
        assert!(opened["expires_in_ms"].is_u64() && opened["rotate_in_ms"].is_u64());
        Self {
            addr: server.addr,
            qr_id,
            claim: text(&opened["claim"]),
            link,
            seen: 1,
        }
    }

    /// A request with the claim.
    pub(crate) fn request(&self, method: &'static str, after: &str) -> Request {
        request(self.addr, method, &format!("/v1/qr/{}{after}", self.qr_id))
            .header("authorization", &format!("Claim {}", self.claim))
            .header("countersign-device", DEVICE)
    }

    /// A request for the events after one.
    pub(crate) fn events(&self, after: Option<u32>) -> Request {
        let request = self.request("GET", "/events");
        match after {
            Some(seq) => request.header("last-event-id", &seq.to_string()),
            None => request,
        }
    }

    /// Hears by a new stream from here on.
    pub(crate) async fn stream(&mut self, after: Option<u32>) {
        self.link = Link::Events(Box::new(Events::open(self.events(after)).await));
    }

    /// Hears by a new WebSocket from here on.
    pub(crate) async fn socket(&mut self, server: &TestServer, after: u32) {
        let mut client = server.anonymous().await;
        let watch = json!({"qr_id": self.qr_id, "claim": self.claim, "device": DEVICE, "after_seq": after});
        client.ok("qr.watch", watch).await;
        self.link = Link::WebSocket(Box::new(client));
    }

    /// Opens another on its socket, and looks no further at that one.
    pub(crate) async fn open_another(&mut self) {
        match &mut self.link {
            Link::WebSocket(client) => client.ok("qr.open", opening()).await,
            _ => panic!("it has no socket"),
        };
    }

    /// What it hears by now is somebody else's to look at.
    pub(crate) fn take_events(&mut self) -> Events {
        match std::mem::replace(&mut self.link, Link::Polling) {
            Link::Events(events) => *events,
            _ => panic!("it reads no stream"),
        }
    }

    /// Likewise.
    pub(crate) fn take_socket(&mut self) -> Client {
        match std::mem::replace(&mut self.link, Link::Polling) {
            Link::WebSocket(client) => *client,
            _ => panic!("it has no socket"),
        }
    }

    pub(crate) async fn poll(&self) -> Answer {
        self.request("GET", "").send().await
    }

    /// The next change.
    pub(crate) async fn next(&mut self) -> Value {
        let change = match &mut self.link {
            Link::WebSocket(client) => client.push("qr").await,
            Link::Events(events) => events.next().await.unwrap().data,
            Link::Polling => {
                within("a change", async {
                    loop {
                        let answer = self.poll().await;
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        assert_eq!(answer.header("cache-control"), Some("no-store"));
                        let now = answer.json();
                        if now["seq"].as_u64() > Some(self.seen) {
                            return now;
                        }
                        // Each question is a connection of its own: fewer than an address may open in a second.
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                })
                .await
            }
        };
        assert_eq!(change["type"], "qr");
        let seq = change["seq"].as_u64().unwrap();
        // Who polls sees what there is.
        let polls = matches!(self.link, Link::Polling);
        assert!(seq == self.seen + 1 || polls, "none is missing: {change}");
        self.seen = seq;
        change
    }

    /// The next change, which must be this state.
    pub(crate) async fn becomes(&mut self, state: &str) -> Value {
        let change = self.next().await;
        assert_eq!(change["state"], state, "{change}");
        change
    }

    /// The way it came says that nothing follows: a stream ends and is not given again, the others are told the end
    /// whenever they ask.
    pub(crate) async fn has_ended(&mut self) {
        if let Link::Events(events) = &mut self.link {
            assert_eq!(events.next().await, None);
            assert!(events.finished, "the gateway ended it");
        }
        let seen = u32::try_from(self.seen).unwrap();
        let again = self.events(Some(seen)).send().await;
        assert_eq!((again.status, again.body.len()), (204, 0));
        assert_eq!(self.poll().await.json()["seq"], json!(seen));
    }

    /// Says something: `answer`, `redeem` or `cancel`. Answers the fields of the reply, or the code of the refusal.
    pub(crate) async fn say(&mut self, what: &str, fields: Value) -> Result<Value, String> {
        let mut command = fields.clone();
        command["qr_id"] = json!(self.qr_id);
        command["claim"] = json!(self.claim);
        if let Link::WebSocket(client) = &mut self.link {
            let mut reply = client.call(&format!("qr.{what}"), command).await;
            if reply["type"] == "error" {
                return Err(text(&reply["code"]));
            }
            let fields = reply.as_object_mut().unwrap();
            fields.retain(|name, _| name != "id" && name != "type");
            return Ok(reply);
        }
        let request = match what {
            "cancel" => self.request("DELETE", ""),
            _ => self.request("POST", &format!("/{what}")).json(&fields),
        };
        let answer = request.send().await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        match answer.status {
            200 => Ok(answer.json()),
            204 => Ok(json!({})),
            _ => Err(text(&answer.json()["code"])),
        }
    }
}
