//! Calls over HTTP as lines of a history, and what is secret in anything that was received.

use serde::Deserialize;

use super::line::{Line, Text};
use super::wire::{Frame, digest, ok, refused};
use crate::clock::Nanos;

/// Shortest run of letters that may be a secret: 256 bits are 43 characters of base64url.
const SECRET_BYTES_MIN: usize = 40;
/// Most of one frame that are recorded; no frame of the contract has more than a few.
const SECRETS_MAX: usize = 64;

/// A call over HTTP, as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// `scan`, `confirm`, `deny`, `outcome` of a phone; `open`, `poll`, `answer`, `cancel`, `redeem` of a PC.
    pub op: &'a str,
    /// Chosen by the recorder, once for each call of a connection.
    pub id: u64,
    /// The id in its path.
    pub qr: &'a str,
    /// The claim in its headers.
    pub claim: Option<&'a str>,
    /// Its body, JSON or empty.
    pub body: &'a [u8],
}

/// What is read of a call's body.
#[derive(Deserialize, Default)]
struct Body<'a> {
    #[serde(default)]
    scan_token: Option<Text<'a>>,
    #[serde(default)]
    ticket: Option<Text<'a>>,
}

/// The invocation in a call.
pub(super) fn invocation<'a>(conn: u64, at: Nanos, call: &Call<'a>) -> Line<'a> {
    let body: Body<'_> = serde_json::from_slice(call.body).unwrap_or_default();
    let mark = |text: Text<'_>| Text::from(digest(text.as_bytes()));
    Line {
        id: Some(call.id),
        op: Some(call.op.into()),
        qr: (!call.qr.is_empty()).then(|| call.qr.into()),
        claim: call.claim.map(|claim| digest(claim.as_bytes()).into()),
        scan_token: body.scan_token.map(mark),
        ticket: body.ticket.map(mark),
        ..Line::on("invoke", at, conn)
    }
}

/// Its answer.
pub(super) fn answer<'a>(conn: u64, at: Nanos, id: u64, (status, body): (u16, &'a [u8])) -> Line<'a> {
    let good = (200..300).contains(&status);
    let frame = serde_json::from_slice::<Frame<'a>>(if body.is_empty() { b"{}" } else { body });
    let line = match frame {
        Ok(frame) if good => ok(conn, at, frame),
        Ok(frame) => refused(conn, at, frame),
        Err(_) => Line::on(if good { "ok" } else { "error" }, at, conn),
    };
    Line {
        id: Some(id),
        code: line.code.or_else(|| (!good).then(|| status.to_string().into())),
        secrets: secrets(body),
        ..line
    }
}

/// Digests of what has the shape of a secret: tokens, tickets, claims, wherever they stand. Each once.
pub(super) fn secrets(text: &[u8]) -> Vec<Text<'static>> {
    let letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let mut found: Vec<Text<'static>> = Vec::new();
    for run in text.split(|b| !letter(b)) {
        if run.len() >= SECRET_BYTES_MIN && found.len() < SECRETS_MAX {
            let digest = Text::from(digest(run));
            if !found.contains(&digest) {
                found.push(digest);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

    #[test]
    fn secrets_are_found_wherever_they_stand_and_never_written() {
        let own = digest(TICKET.as_bytes());
        for text in [
            format!(r#"{{"type":"qr","ticket":"{TICKET}"}}"#),
            format!(r#"{{"type":"message","body":{{"x":"see https://h/?t={TICKET}&a=b"}}}}"#),
            format!("[\"{TICKET}\",\"{TICKET}\"]"),
        ] {
            assert_eq!(secrets(text.as_bytes()), [own.as_str()], "{text}");
        }
        assert!(secrets(br#"{"qr_id":"AbCdEfGhIjKlMnOpQrStUv","session":"s_0123"}"#).is_empty());
        let body = format!(r#"{{"ticket":"{TICKET}"}}"#);
        let call = Call {
            op: "redeem",
            id: 7,
            qr: "q",
            claim: Some(TICKET),
            body: body.as_bytes(),
        };
        let line = invocation(1, 5, &call);
        assert_eq!(
            (line.claim.as_deref(), line.ticket.as_deref()),
            (Some(&*own), Some(&*own))
        );
        assert!(!serde_json::to_string(&line).unwrap().contains(TICKET));
    }

    #[test]
    fn answers_are_ok_or_errors() {
        let line = answer(
            1,
            5,
            9,
            (
                200,
                br#"{"scan_token":"s","match":{"mode":"none"},"request":{"ip":"x"}}"#,
            ),
        );
        assert_eq!((line.e.as_ref(), line.id), ("ok", Some(9)));
        assert_eq!(line.scan_token.as_deref(), Some(&*digest(b"s")));
        let line = answer(
            1,
            5,
            9,
            (
                409,
                br#"{"type":"about:blank","code":"already_final","state":"denied"}"#,
            ),
        );
        assert_eq!(
            (line.e.as_ref(), line.code.as_deref(), line.state.as_deref()),
            ("error", Some("already_final"), Some("denied"))
        );
        assert_eq!(answer(1, 5, 9, (502, b"<html>")).code.as_deref(), Some("502"));
        assert_eq!(answer(1, 5, 9, (204, b"")).e, "ok");
    }
}
