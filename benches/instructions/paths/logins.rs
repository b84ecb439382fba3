//! A whole QR login.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use countersign::hub::MemoryWire;
use countersign::node::{Caller, Claim, QrRequest};
use countersign_protocol::client::{Device, DeviceKind, QrOpen};
use countersign_protocol::codec::{json_frame, ok_json};
use countersign_protocol::http::Confirm;

use super::Path;
use crate::stage::{Stage, device};

/// Logins of one run.
const ATTEMPTS: u64 = 4;

pub fn paths() -> Vec<Path> {
    vec![Path::new("qr/attempt", (ATTEMPTS, "attempt"), attempt)]
}

/// Opened, scanned, confirmed and redeemed on a socket that stays, which is told of each step. The phone's token is
/// verified with each of its two calls, and the PC's own tokens are signed. What sockets, HTTP and JSON of commands
/// cost is not in it.
fn attempt() -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let token = stage.token("alice");
    let wire = MemoryWire::new(usize::MAX);
    let connection = stage.connect(wire.clone());
    let device = device();
    let request = QrRequest::read(&QrOpen {
        device: Device {
            id: device.to_string().into(),
            name: Some("Office PC".into()),
            kind: DeviceKind::Pc,
        },
        public_key: None,
        dpop_jkt: None,
        client_id: None,
    })
    .unwrap();
    move || {
        let node = stage.node();
        let mut redeemed = 0;
        for _ in 0..ATTEMPTS {
            redeemed += stage.run(async {
                let (mut qr_id, mut claim) = (String::new(), String::new());
                node.open_qr(&connection, &request, |opened| {
                    (qr_id, claim) = (opened.qr_id.clone(), opened.claim.clone());
                    Bytes::from(json_frame(&ok_json(7, opened)))
                })
                .await
                .unwrap();
                let phone = async || Caller {
                    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                    session: Some(node.authenticate(&token, Some(&device), None).await.unwrap()),
                };
                let scanned = node.scan_qr(&phone().await, &qr_id).await.unwrap();
                connection.flush();
                let told = wire.drain();
                let confirm = Confirm {
                    scan_token: scanned.scan_token,
                    code: Some(text(&told, r#""code":""#)),
                    password: None,
                };
                node.confirm_qr(&phone().await, &qr_id, &confirm).await.unwrap();
                connection.flush();
                let ticket = text(&wire.drain(), r#""ticket":""#);
                let claim = Claim {
                    qr_id: &qr_id,
                    claim: &claim,
                    device: &device,
                };
                let redeemed = node.redeem_qr(&connection, claim, &ticket).await.unwrap();
                connection.flush();
                u64::from(redeemed.signed_in)
            });
        }
        redeemed
    }
}

/// The text after `key` in what was written to a wire.
fn text(bytes: &[u8], key: &str) -> String {
    let from = bytes
        .windows(key.len())
        .rposition(|w| w == key.as_bytes())
        .unwrap()
        + key.len();
    let text = bytes[from..].split(|b| *b == b'"').next().unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}
