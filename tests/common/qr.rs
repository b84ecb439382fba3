//! A QR login from both sides: the PC on its WebSocket, phones over HTTP.

use serde_json::{Value, json};

use super::{Answer, Client, Person, TestServer};

/// A PC that shows a code.
pub struct Pc {
    pub client: Client,
    pub qr_id: String,
    pub claim: String,
    pub device: &'static str,
}

impl Pc {
    pub async fn open(server: &TestServer) -> Self {
        Self::open_as(server, "pc-1").await
    }

    pub async fn open_as(server: &TestServer, device: &'static str) -> Self {
        let mut client = server.anonymous().await;
        let opened = client
            .ok(
                "qr.open",
                json!({"device": {"id": device, "name": "Office PC", "kind": "pc"}}),
            )
            .await;
        assert_eq!((&opened["state"], &opened["seq"]), (&json!("waiting"), &json!(1)));
        let qr_id = text(&opened["qr_id"]);
        assert_eq!(opened["url"], format!("{}/q/{qr_id}", server.url("")));
        Self {
            client,
            qr_id,
            claim: text(&opened["claim"]),
            device,
        }
    }

    pub fn claim(&self) -> Value {
        json!({"qr_id": self.qr_id, "claim": self.claim})
    }

    pub fn watch(&self, after_seq: Option<u32>) -> Value {
        let mut fields = self.claim();
        fields["device"] = json!(self.device);
        if let Some(seq) = after_seq {
            fields["after_seq"] = json!(seq);
        }
        fields
    }

    /// The next change, which must be this state.
    pub async fn becomes(&mut self, state: &str) -> Value {
        let push = self.client.push("qr").await;
        assert_eq!(push["state"], state, "{push}");
        push
    }

    pub async fn redeem(&mut self, ticket: &str) -> Value {
        let mut fields = self.claim();
        fields["ticket"] = json!(ticket);
        self.client.call("qr.redeem", fields).await
    }
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

pub async fn scan(phone: &Person, qr_id: &str) -> Answer {
    phone
        .request("POST", &format!("/v1/qr/{qr_id}/scan"))
        .send()
        .await
}

pub async fn scan_token(phone: &Person, qr_id: &str) -> String {
    let answer = scan(phone, qr_id).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    text(&answer.json()["scan_token"])
}

pub async fn confirm(phone: &Person, qr_id: &str, scan_token: &str, code: Option<&str>) -> Answer {
    let mut body = json!({"scan_token": scan_token});
    if let Some(code) = code {
        body["code"] = json!(code);
    }
    phone
        .request("POST", &format!("/v1/qr/{qr_id}/confirm"))
        .json(&body)
        .send()
        .await
}

pub async fn deny(phone: &Person, qr_id: &str, scan_token: &str) -> Answer {
    let body = json!({"scan_token": scan_token});
    phone
        .request("POST", &format!("/v1/qr/{qr_id}/deny"))
        .json(&body)
        .send()
        .await
}

pub fn code(answer: &Answer) -> String {
    text(&answer.json()["code"])
}

/// Scans, confirms with the digits the PC was pushed, and answers the ticket.
pub async fn to_ticket(pc: &mut Pc, phone: &Person) -> String {
    let token = scan_token(phone, &pc.qr_id).await;
    let scanned = pc.becomes("scanned").await;
    let digits = text(&scanned["match"]["code"]);
    let answer = confirm(phone, &pc.qr_id, &token, Some(&digits)).await;
    assert_eq!(
        (answer.status, &answer.json()["state"]),
        (200, &json!("confirmed"))
    );
    text(&pc.becomes("confirmed").await["ticket"])
}
