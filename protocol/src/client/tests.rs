use super::*;

fn code(text: &str) -> (Option<u64>, ErrorCode) {
    match parse(text) {
        Err(FrameError::Refused { id, code, .. }) => (id, code),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn body_is_kept_as_it_was_written() {
    let text = r#"{"id":1,"type":"send","room":"a:b","body":{"x": 1.0,"from":"eve"}}"#;
    let Ok(Frame {
        id: 1,
        command: Command::Send(send),
    }) = parse(text)
    else {
        panic!("not a send")
    };
    assert_eq!(send.body.get(), r#"{"x": 1.0,"from":"eve"}"#);
}

#[test]
fn refusals_keep_the_id_when_there_is_one() {
    assert_eq!(code("[]"), (None, ErrorCode::BadRequest));
    assert_eq!(code("3"), (None, ErrorCode::BadRequest));
    assert_eq!(code("{}"), (None, ErrorCode::BadRequest));
    assert_eq!(code(r#"{"id":-1,"type":"ping"}"#), (None, ErrorCode::BadRequest));
    assert_eq!(code(r#"{"id":1.5,"type":"ping"}"#), (None, ErrorCode::BadRequest));
    assert_eq!(code(r#"{"id":7}"#), (Some(7), ErrorCode::BadRequest));
    assert_eq!(code(r#"{"id":7,"type":3}"#), (Some(7), ErrorCode::BadRequest));
    assert_eq!(
        code(r#"{"id":7,"type":"fly"}"#),
        (Some(7), ErrorCode::UnknownCommand)
    );
    assert_eq!(
        code(r#"{"id":7,"type":"send","room":"a:b"}"#),
        (Some(7), ErrorCode::BadRequest)
    );
    assert_eq!(
        code(r#"{"id":7,"type":"join","room":5}"#),
        (Some(7), ErrorCode::BadRequest)
    );
}

#[test]
fn a_key_twice_is_refused_even_when_it_is_unknown_or_escaped() {
    for text in [
        r#"{"id":7,"type":"ping","x":1,"x":2}"#,
        r#"{"id":7,"type":"ping","x":1,"\u0078":2}"#,
        r#"{"id":7,"id":7,"type":"ping"}"#,
    ] {
        assert_eq!(code(text), (Some(7), ErrorCode::BadRequest), "{text}");
    }
    let many: String = (0..40).map(|i| format!(",\"k{i}\":0")).collect();
    assert_eq!(
        code(&format!(r#"{{"id":7,"type":"ping"{many}}}"#)).1,
        ErrorCode::BadRequest
    );
}

#[test]
fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
    let nested = |n: usize| {
        format!(
            r#"{{"id":1,"type":"ping","x":{}{}}}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    assert!(parse(&nested(15)).is_ok());
    assert_eq!(code(&nested(16)).1, ErrorCode::BadRequest);
    assert!(parse(r#"{"id":1,"type":"ping","x":"[[[[[[[[[[[[[[[[[[[[\"[["}"#).is_ok());
    // Many, but none of them deep.
    let beside = format!(r#"{{"id":1,"type":"ping","x":[{}0]}}"#, "[],".repeat(40));
    assert!(parse(&beside).is_ok());
}

#[test]
fn what_is_not_json_is_told_apart() {
    for text in [
        "",
        "{",
        "hello",
        r#"{"id":1,"type":"ping"} x"#,
        "{'id':1}",
        "[1,",
        "3 4",
    ] {
        assert_eq!(parse(text).err(), Some(FrameError::NotJson), "{text:?}");
    }
}

#[test]
fn unknown_fields_are_ignored() {
    assert!(parse(r#"{"id":1,"type":"leave","room":"a","from":"eve","later":{}}"#).is_ok());
}

#[test]
fn null_for_what_may_be_absent_means_absent() {
    let send = r#"{"id":1,"type":"send","room":"a","body":null,"cid":null,"priority":null}"#;
    let Ok(Frame {
        command: Command::Send(send),
        ..
    }) = parse(send)
    else {
        panic!("it is a send");
    };
    assert_eq!((send.cid, send.priority), (None, Priority::Normal));
    let open = r#"{"id":1,"type":"qr.open","device":{"id":"pc","name":null,"kind":null},"public_key":null}"#;
    let Ok(Frame {
        command: Command::QrOpen(open),
        ..
    }) = parse(open)
    else {
        panic!("it is a qr.open");
    };
    assert_eq!(open.device.kind, DeviceKind::Other);
}
