//! Bodies over HTTP are read by the rules of commands on a socket: what one of them refuses, the other does not take.

use countersign_protocol::ErrorCode;
use serde_json::json;

use super::stage::{Stage, assert_error, assert_problem};
use super::{Case, Covers, story};
use crate::common::http::Request;
use crate::common::request;

pub(crate) fn table() -> Vec<Case> {
    let bad_request = Covers::Error(ErrorCode::BadRequest);
    vec![story(bad_request, "bodies that no command may be", || {
        Box::pin(bodies())
    })]
}

/// What may be added to an object of three fields at most, and what may not, with what is said of it.
fn faults() -> Vec<(String, &'static str)> {
    let many: Vec<_> = (0..32).map(|n| format!("\"k{n}\":0")).collect();
    let nested = |levels: usize| format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels));
    vec![
        (r#""x":1,"x":2"#.into(), "a key appears twice"),
        (r#""x":1,"\u0078":2"#.into(), "a key appears twice"),
        (nested(16), "nested deeper than 16"),
        (nested(40), "nested deeper than 16"),
        (many.join(","), "more than 32 keys"),
    ]
}

/// The same key twice where nobody looks, fifteen levels below the object's own, and brackets in a text.
const SOUND: &str = r#""x":{"y":1,"y":2},"z":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]],"t":"[[[[[[[[[[[[[[[[[[""#;

async fn bodies() {
    let mut stage = Stage::set(|_| {}).await;
    let nobody = "AAAAAAAAAAAAAAAAAAAAAA";
    let (addr, alice) = (stage.server.addr, &stage.alice);
    let bare = |path: &str| request(addr, "POST", path).header("countersign-device", "d");
    let phone = |verb: &str| alice.request("POST", &format!("/v1/qr/{verb}"));
    let pc = |verb: &str| bare(&format!("/v1/qr/{nobody}/{verb}")).header("authorization", "Claim x");
    let device = r#""device":{"id":"d"}"#;
    let token = r#""scan_token":"t""#;
    // A request, the fields it needs, and what it is told when it is read.
    let routes: [(&(dyn Fn() -> Request + Sync), String, u16); 9] = [
        (&|| bare("/v1/qr"), device.into(), 201),
        (
            &|| bare("/v1/login"),
            format!(r#""user_id":"alice","password":"a guess",{device}"#),
            401,
        ),
        (
            &|| bare("/v1/accounts"),
            r#""user_id":"new","password":"correct horse""#.into(),
            201,
        ),
        (&|| bare("/v1/refresh"), r#""refresh_token":"x""#.into(), 401),
        (&|| phone("scan"), r#""user_code":"BCDF-GHJK""#.into(), 404),
        (&|| phone(&format!("{nobody}/confirm")), token.into(), 404),
        (&|| phone(&format!("{nobody}/deny")), token.into(), 404),
        (&|| pc("answer"), r#""code":"00""#.into(), 404),
        (&|| pc("redeem"), r#""ticket":"t""#.into(), 404),
    ];
    for (make, fields, status) in &routes {
        let send = |text: Vec<u8>| {
            let request = make().header("content-type", "application/json");
            request.body(&text).send()
        };
        for (fault, said) in faults() {
            let answer = send(format!("{{{fields},{fault}}}").into()).await;
            assert_problem(&answer, 400, ErrorCode::BadRequest);
            assert_eq!(answer.json()["detail"], said, "{fields},{fault}");
        }
        let not_text = [format!("{{{fields},\"x\":\"").into_bytes(), b"\xff\"}".to_vec()].concat();
        assert_problem(&send(not_text).await, 400, ErrorCode::BadRequest);
        let answer = send(format!("{{{fields},{SOUND}}}").into()).await;
        assert_eq!(answer.status, *status, "{fields}: {}", answer.text());
    }
    // The socket says the same, word for word.
    for (id, (fault, said)) in (900..).zip(faults()) {
        let command = format!(r#"{{"id":{id},"type":"qr.open",{device},{fault}}}"#);
        stage.nobody.send_text(&command).await;
        let reply = stage.nobody.reply(id).await;
        assert_error(&reply, &json!(id), ErrorCode::BadRequest, false);
        assert_eq!(reply["message"], said, "{command}");
    }
    let sound = format!(r#"{{"id":999,"type":"qr.open",{device},{SOUND}}}"#);
    stage.nobody.send_text(&sound).await;
    assert_eq!(stage.nobody.reply(999).await["type"], "ok");
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}
