//! The documents of `contracts/` and the code they describe. What the gateway answers is held against them by the tests
//! beside them; here is what can be known by reading.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

use std::collections::BTreeSet;
use std::path::Path;

use countersign_protocol::client::Command;
use countersign_protocol::oauth::{
    DEVICE_CODE_GRANT, OAuthErrorCode, REFRESH_TOKEN_GRANT, USER_CODE_CHARS, USER_CODE_LETTERS,
};
use countersign_protocol::{ErrorCode, limits};
use serde_json::{Value, json};

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn document(name: &str) -> Value {
    serde_json::from_str(&file(&format!("contracts/{name}.json"))).unwrap()
}

/// `get /v1/me`, for each route of the public port, as the source has them.
fn routes() -> BTreeSet<String> {
    let sources = [
        file("src/http/mod.rs").split("pub fn router(").nth(1).unwrap().to_owned(),
        file("src/http/oauth.rs").split("fn routes(").nth(1).unwrap().to_owned(),
    ];
    let mut found = BTreeSet::new();
    for route in sources.iter().flat_map(|public| public.split(".route(").skip(1)) {
        let route = route.split(".fallback").next().unwrap();
        let path = route.split('"').nth(1).unwrap().replace("{*", "{");
        for method in ["get", "post", "put", "patch", "delete"] {
            let starts = |at: usize| !route[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let call = format!("{method}(");
            if route.match_indices(&call).any(|(at, _)| starts(at)) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    found
}

#[test]
fn openapi_has_every_route_and_no_other() {
    let openapi = document("openapi");
    let mut documented = BTreeSet::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            documented.insert(format!("{method} {path}"));
        }
    }
    // The socket is accepted before the router, and pictures of codes share a route with the attempt.
    let mut known = routes();
    known.insert("get /v1/ws".to_owned());
    let pictures = file("src/http/qr_code.rs");
    assert!(pictures.contains(r#"["svg", "png"].contains(&kind)"#));
    known.extend(["svg", "png"].map(|ending| format!("get /v1/qr/{{qr_id}}.{ending}")));
    assert!(known.len() > 20);
    assert_eq!(documented, known);
}

#[test]
fn schemas_have_every_code_and_command() {
    let schema = document("schema");
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(schema["$defs"]["ErrorCode"]["enum"], json!(codes));
    let commands: BTreeSet<_> = schema["$defs"]["Command"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["$ref"].as_str().unwrap().rsplit('/').next().unwrap())
        .map(|name| {
            schema["$defs"][name]["properties"]["type"]["const"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(commands, Command::NAMES.iter().copied().collect());
}

/// Which refusal comes with which status, and what may be said in a form.
#[test]
fn the_oauth_face_has_every_code_and_its_status() {
    let schema = document("schema");
    let codes: Vec<_> = OAuthErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(schema["$defs"]["OAuthErrorCode"]["enum"], json!(codes));
    let mut answered = BTreeSet::new();
    for (name, answer) in document("openapi")["components"]["responses"]
        .as_object()
        .unwrap()
    {
        let status = &name[1..4];
        let refused = &answer["content"]["application/json"]["schema"]["properties"]["error"]["enum"];
        for code in refused.as_array().into_iter().flatten() {
            answered.insert((code.as_str().unwrap().to_owned(), status.to_owned()));
        }
    }
    let mut known: BTreeSet<_> = OAuthErrorCode::ALL
        .iter()
        .map(|code| (code.name().to_owned(), code.status().to_string()))
        .collect();
    // Where HTTP has a status of its own for it.
    for (code, status) in [
        ("temporarily_unavailable", "429"),
        ("invalid_request", "413"),
        ("unauthorized_client", "403"),
        ("invalid_scope", "403"),
    ] {
        known.insert((code.to_owned(), status.to_owned()));
    }
    assert_eq!(answered, known);

    let forms = &schema["$defs"]["TokenForm"]["oneOf"];
    let grants = [0, 1].map(|at: usize| &forms[at]["properties"]["grant_type"]["const"]);
    assert_eq!(grants, [&json!(DEVICE_CODE_GRANT), &json!(REFRESH_TOKEN_GRANT)]);
    let half = format!(
        "[{}]{{{}}}",
        std::str::from_utf8(USER_CODE_LETTERS).unwrap(),
        USER_CODE_CHARS / 2
    );
    assert_eq!(
        schema["$defs"]["UserCode"]["pattern"],
        json!(format!("^{half}-{half}$"))
    );
}

#[test]
fn schemas_have_the_bounds_of_the_protocol() {
    let schema = document("schema");
    let at = |pointer: &str| schema.pointer(&format!("/$defs/{pointer}")).unwrap().clone();
    for (pointer, bound) in [
        ("RoomName/maxLength", limits::ROOM_BYTES_MAX),
        ("DisplayName/maxLength", limits::NAME_CHARS_MAX),
        ("Avatar/maxLength", limits::AVATAR_BYTES_MAX),
        (
            "NewAccount/properties/password/minLength",
            limits::PASSWORD_BYTES_MIN,
        ),
        (
            "NewAccount/properties/password/maxLength",
            limits::PASSWORD_BYTES_MAX,
        ),
        ("Message/properties/cid/maxLength", limits::CID_BYTES_MAX),
        (
            "JoinReply/properties/messages/maxItems",
            limits::RECOVERY_MESSAGES_MAX,
        ),
        (
            "HistoryReply/properties/messages/maxItems",
            limits::HISTORY_PAGE_MAX,
        ),
        (
            "MembersReply/properties/members/maxItems",
            limits::MEMBERS_PAGE_MAX,
        ),
    ] {
        assert_eq!(at(pointer), json!(bound), "{pointer}");
    }
    for (name, bound) in [
        ("Room", limits::ROOM_BYTES_MAX),
        ("UserId", limits::USER_ID_BYTES_MAX),
        ("DeviceId", limits::DEVICE_ID_BYTES_MAX),
    ] {
        let pattern = at(&format!("{name}/pattern"));
        let end = format!("{{1,{bound}}}$");
        assert!(pattern.as_str().unwrap().ends_with(&end), "{name}: {pattern}");
    }
}

#[test]
fn documents_are_of_this_version() {
    for name in ["openapi", "asyncapi"] {
        assert_eq!(
            document(name)["info"]["version"],
            env!("CARGO_PKG_VERSION"),
            "{name}"
        );
    }
}
