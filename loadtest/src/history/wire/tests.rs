use super::*;

#[test]
fn bodies_are_compared_as_json() {
    let of = |text: &str| Body::of(&RawValue::from_string(text.to_owned()).unwrap());
    let (a, b) = (of(r#"{"id":7,"x":[1,2]}"#), of(r#"{ "x": [1, 2], "id": 7 }"#));
    assert_eq!((&a.digest, &a.msg), (&b.digest, &b.msg));
    assert_eq!(a.msg.as_deref(), Some("7"));
    assert_ne!(a.digest, of(r#"{"id":7,"x":[2,1]}"#).digest);
    assert_eq!(a.digest.len(), 16);
    assert_eq!(of(r#""text""#).msg, None);
    // Check value for other recorders: sha1 of {"a":1,"b":2}.
    assert_eq!(of(r#"{"b":2, "a":1}"#).digest, "4acc71e0547112eb");
}

#[test]
fn commands_become_invocations() {
    let text = br#"{"id":3,"type":"join","room":"a:b","after":{"epoch":"e","offset":9}}"#;
    let line = invocation(1, 5, text);
    assert_eq!((line.e.as_ref(), line.at, line.id), ("invoke", 5, Some(3)));
    assert_eq!(
        (line.after_epoch.as_deref(), line.after_offset),
        (Some("e"), Some(9))
    );
    let line = invocation(1, 5, br#"{"id":4,"type":"history","room":"a:b","after":9}"#);
    assert_eq!((line.after_epoch.as_deref(), line.after_offset), (None, Some(9)));
    let line = invocation(
        1,
        5,
        br#"{"id":4,"type":"send","room":"a:b","body":{"id":"m1"},"cid":"c"}"#,
    );
    assert_eq!(
        (line.msg.as_deref(), line.cid.as_deref()),
        (Some("m1"), Some("c"))
    );
    assert!(line.body.is_some());
    assert_eq!(invocation(1, 5, b"[]").e, "other");
}

#[test]
fn rooms_have_one_spelling_and_null_is_a_body() {
    let line = invocation(1, 5, br#"{"id":1,"type":"send","room":"lobby","body":null}"#);
    assert_eq!(line.op.as_deref(), Some("send"));
    assert_eq!(line.room.as_deref(), Some("default:lobby"));
    let push = br#"{"type":"message","room":"default:lobby","offset":1,"from":{"id":"u"},"body":null}"#;
    let push = outcome(1, 5, push);
    assert_eq!((push.e.as_ref(), push.body), ("message", line.body));
}

#[test]
fn what_can_only_be_refused_still_has_an_answer() {
    for text in [
        r#"{"id":7,"type":"send","room":"a:b"}"#,
        r#"{"id":7,"type":"send","body":1}"#,
        r#"{"id":7,"type":"like","room":"a:b"}"#,
        r#"{"id":7,"type":"join"}"#,
        r#"{"id":7,"type":"join","room":7}"#,
        r#"{"id":7,"type":"qr.watch","claim":"c"}"#,
        r#"{"id":7,"type":"send","room":"a:b","body":1,"body":2}"#,
        r#"{"id":6,"type":"send","room":"a:b","body":1,"\u0069d":7}"#,
        r#"{"id":7}"#,
    ] {
        let line = invocation(1, 5, text.as_bytes());
        let known = ["send", "like", "join", "qr.watch"].contains(&line.op.as_deref().unwrap());
        assert_eq!(
            (line.e.as_ref(), line.id, known),
            ("invoke", Some(7), false),
            "{text}"
        );
    }
}

#[test]
fn frames_become_outcomes() {
    let line = outcome(1, 5, br#"{"type":"gap","room":"a:b","from":3,"to":4}"#);
    assert_eq!(
        (line.e.as_ref(), line.first, line.last),
        ("gap", Some(3), Some(4))
    );
    let line = outcome(
        1,
        5,
        br#"{"type":"message","room":"a:b","offset":3,"at_ms":1,"from":{"id":"u","role":"member"},"body":1}"#,
    );
    assert_eq!(
        (line.e.as_ref(), line.user.as_deref(), line.offset),
        ("message", Some("u"), Some(3))
    );
    let line = outcome(
        1,
        5,
        br#"{"type":"ok","id":1,"epoch":"e","offset":3,"messages":[{"type":"message","room":"a:b","offset":3,"at_ms":1,"from":null,"source":"server","body":1}],"counts":{"version":1,"viewers":2,"members":1,"counters":{"likes":4}}}"#,
    );
    assert_eq!((line.messages.len(), line.offset), (1, Some(3)));
    assert_eq!(
        line.counts.map(|c| (c.viewers, c.counters["likes"])),
        Some((2, 4))
    );
    let line = outcome(
        1,
        5,
        br#"{"type":"counts","room":"a:b","version":9,"viewers":3,"members":2,"counters":{}}"#,
    );
    assert_eq!(
        line.counts.map(|c| (c.version, c.viewers, c.members)),
        Some((9, 3, 2))
    );
    let line = outcome(
        1,
        5,
        br#"{"type":"ok","id":1,"user":{"id":"u"},"session":"s","expires_in_ms":1}"#,
    );
    assert_eq!(line.user.as_deref(), Some("u"));
    let other = |text: &'static [u8]| outcome(1, 5, text).what.map(Text::into_owned);
    assert_eq!(
        other(br#"{"type":"presence","room":"a:b","joined":[],"left":["bob"]}"#).as_deref(),
        Some("presence")
    );
    assert!(
        other(br#"{"type":"message","room":"a:b"}"#)
            .unwrap()
            .contains("without")
    );
    assert!(other(b"no").unwrap().contains("cannot be read"));
}
