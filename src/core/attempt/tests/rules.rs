//! Rules one by one: ids and their time, tries, grace, what each side is told, size, silence of secrets.

use countersign_protocol::ErrorCode;
use countersign_protocol::client::PublicKey;
use countersign_protocol::server::QrState;

use super::*;

fn decide(attempt: &Attempt, command: &Command<'_>, now: u64) -> Step {
    super::decide(attempt, command, now, &Policy::default())
}

fn code_of(step: &Step) -> Option<ErrorCode> {
    step.outcome.as_ref().err().map(|refusal| refusal.code)
}

fn scan_of(qr_id: QrId, phone: &Phone) -> Command<'_> {
    Command::Scan {
        qr_id,
        phone,
        token: digest(20),
        digits: digits(),
        typed: None,
    }
}

fn watch(connection: &str) -> Command<'_> {
    Command::Watch {
        claim: CLAIM,
        device: PC,
        connection,
    }
}

const POLL: Command<'static> = Command::Poll {
    claim: CLAIM,
    device: PC,
};

#[test]
fn an_id_lives_two_periods_whether_rotation_came_or_not() {
    let phone = alice();
    let scan = |attempt: &Attempt, qr_id, at| code_of(&decide(attempt, &scan_of(qr_id, &phone), T0 + at));
    let never = open(opening(MatchMode::PhoneTypes), T0, &Policy::default());
    assert_eq!(
        scan(&never, id(0), 90 * S - 1),
        None,
        "no tick came; still within two periods"
    );
    assert_eq!(scan(&never, id(0), 90 * S), Some(ErrorCode::NotFound));

    let rotated = run(&never, &tick(1), T0 + 45 * S);
    assert_eq!(rotated.qr_id(), id(1));
    assert_eq!(scan(&rotated, id(0), 90 * S - 1), None, "one more period");
    assert_eq!(scan(&rotated, id(0), 90 * S), Some(ErrorCode::NotFound));

    // A late rotation does not lengthen the old id's life; the new one lives from when it was made.
    let late = run(&never, &tick(1), T0 + 80 * S);
    assert_eq!(scan(&late, id(0), 90 * S), Some(ErrorCode::NotFound));
    assert_eq!(scan(&late, id(1), 170 * S - 1), None);
    assert_eq!(scan(&late, id(1), 170 * S), Some(ErrorCode::NotFound));
}

#[test]
fn rotation_keeps_its_beat_and_its_bounds() {
    let policy = Policy::default();
    let mut attempt = open(opening(MatchMode::PhoneTypes), T0, &policy);
    assert!(decide(&attempt, &tick(1), T0 + 45 * S - 1).next.is_none());
    for n in 1..=6 {
        let at = attempt.due_at(&policy);
        assert_eq!(at, T0 + u64::from(n) * 45 * S);
        assert!(
            decide(&attempt, &tick(n - 1), at).next.is_none(),
            "an id already used is not taken"
        );
        attempt = run(&attempt, &tick(n), at);
    }
    assert_eq!(
        attempt.due_at(&policy),
        T0 + 300 * S,
        "the lifetime comes before a seventh rotation"
    );
    let push = attempt.newest().push(T0 + 270 * S, "https://example.com/");
    assert_eq!(
        (push.rotate_in_ms, push.expires_in_ms),
        (Some(30 * S), Some(30 * S))
    );
    assert_eq!(push.url, Some(format!("https://example.com/q/{}", id(6))));
    let step = decide(&attempt, &scan_of(id(6), &alice()), T0 + 300 * S);
    assert_eq!(
        code_of(&step),
        Some(ErrorCode::AlreadyFinal),
        "a late ticker makes no difference"
    );
    assert_eq!(step.outcome.unwrap_err().reason, Some(Reason::Idle));
    assert_eq!(step.next.unwrap().state(), QrState::Expired);

    // A policy that would rotate without end is stretched.
    let hasty = Policy {
        rotate_ms: 0,
        ..Policy::default()
    };
    let mut attempt = open(opening(MatchMode::None), T0, &hasty);
    let mut fresh = 0;
    while attempt.state() == QrState::Waiting {
        fresh += 1;
        let now = attempt.due_at(&hasty);
        attempt = super::decide(&attempt, &tick(fresh), now, &hasty).next.unwrap();
    }
    assert_eq!(attempt.ids().len(), IDS_MAX);
}

#[test]
fn after_the_scan_nothing_rotates_and_time_kills_no_id() {
    let attempt = scanned(MatchMode::None);
    let late = T0 + 150 * S;
    assert!(decide(&attempt, &tick(9), late).next.is_none());
    let others = phones();
    // Id 1 was still good at the scan and stays known, past what its two periods would have been.
    for qr_id in [id(1), id(2)] {
        let step = decide(&attempt, &scan_of(qr_id, &others[1]), late);
        assert_eq!(code_of(&step), Some(ErrorCode::AlreadyScanned));
    }
    assert_eq!(
        code_of(&decide(&attempt, &scan_of(id(0), &others[0]), late)),
        Some(ErrorCode::NotFound)
    );
}

#[test]
fn an_attempt_nobody_looks_at_ends() {
    let policy = Policy::default();
    let mut unwatched = opening(MatchMode::PhoneTypes);
    unwatched.connection = None;
    let attempt = open(unwatched, T0, &policy);
    assert_eq!(attempt.due_at(&policy), T0 + 45 * S);
    let polled = run(&attempt, &POLL, T0 + 59 * S);
    assert!(
        decide(&polled, &POLL, T0 + 59 * S).next.is_none(),
        "nothing new to store"
    );
    let rotated = run(&polled, &tick(1), T0 + 90 * S);
    assert_eq!(rotated.due_at(&policy), T0 + 119 * S);
    let ended = run(&rotated, &tick(2), T0 + 119 * S);
    assert_eq!(
        (ended.state(), ended.reason()),
        (QrState::Expired, Some(Reason::Idle))
    );

    let watched = run(&rotated, &watch("c_5"), T0 + 118 * S);
    assert_eq!(run(&watched, &tick(2), T0 + 119 * S).state(), QrState::Waiting);
    // Once scanned it may be unwatched for as long as the scan lasts.
    let scanned = run(&rotated, &scan_of(id(1), &alice()), T0 + 118 * S);
    assert_eq!(run(&scanned, &tick(2), T0 + 177 * S).state(), QrState::Scanned);
    assert_eq!(scanned.due_at(&policy), T0 + 178 * S);
}

#[test]
fn a_new_watch_takes_over() {
    let attempt = waiting(MatchMode::PhoneTypes);
    let now = T0 + 92 * S;
    let step = decide(&attempt, &watch("c_2"), now);
    let expires_at = T0 + 300 * S;
    let expected = Outcome::Watching {
        state: QrState::Waiting,
        expires_at,
        replaced: Some("c_1".into()),
    };
    assert_eq!(step.outcome, Ok(expected));
    let taken = step.next.unwrap();
    assert_eq!(taken.watched_by(), Some("c_2"));
    // The old connection's end comes late and means nothing any more.
    let late = decide(&taken, &Command::Unwatch { connection: "c_1" }, now);
    assert_eq!((late.next, late.outcome), (None, Ok(Outcome::Unaffected)));
    assert!(decide(&taken, &watch("c_2"), now).next.is_none());
    assert_eq!(
        run(&taken, &Command::Unwatch { connection: "c_2" }, now).watched_by(),
        None
    );
}

#[test]
fn a_rescan_keeps_tries_digits_and_time() {
    let attempt = scanned(MatchMode::PcTypes);
    let wrong = Command::Answer {
        claim: CLAIM,
        device: PC,
        code: "70",
    };
    let step = decide(&attempt, &wrong, T0 + 92 * S);
    assert_eq!(step.outcome.unwrap_err().tries_left, Some(2));
    let phone = alice();
    let other = Digits::new(55).unwrap();
    let again = Command::Scan {
        qr_id: id(2),
        phone: &phone,
        token: digest(30),
        digits: other,
        typed: None,
    };
    let step = decide(&step.next.unwrap(), &again, T0 + 120 * S);
    let Ok(Outcome::Scanned(seen)) = &step.outcome else {
        panic!("{:?}", step.outcome)
    };
    assert_eq!((seen.again, seen.expires_at), (Again::Rescan, T0 + 151 * S));
    assert_eq!(
        seen.number.code.as_deref(),
        Some("07"),
        "the phone shows the first digits"
    );
    assert!(step.events.is_empty());
    let step = decide(&step.next.unwrap(), &wrong, T0 + 121 * S);
    assert_eq!(step.outcome.unwrap_err().tries_left, Some(1));
    let step = decide(&step.next.unwrap(), &wrong, T0 + 122 * S);
    let refusal = step.outcome.unwrap_err();
    assert_eq!(
        (refusal.tries_left, refusal.state),
        (Some(0), Some(QrState::Denied))
    );
}

#[test]
fn a_confirmation_uses_the_token_up() {
    assert!(scanned(MatchMode::None).scanner().unwrap().token.is_some());
    assert_eq!(confirmed().scanner().unwrap().token, None);
}

#[test]
fn only_exactly_the_digits_match() {
    let attempt = scanned(MatchMode::PhoneTypes);
    let (phone, ticket) = (alice(), Secret::new(TICKET));
    for typed in ["7", "7 ", "007", "07 ", "70", "０７", "\0\u{7}"] {
        let code = Some(typed);
        let command = Command::Confirm {
            qr_id: id(2),
            phone: &phone,
            token: digest(21),
            code,
            ticket: &ticket,
        };
        assert_eq!(
            code_of(&decide(&attempt, &command, T0 + 92 * S)),
            Some(ErrorCode::MatchFailed),
            "{typed:?}"
        );
    }
    for n in 0..=99 {
        let shown = Digits::new(n).unwrap();
        assert!(shown.is(&shown.text()) && shown.text().len() == 2);
        assert!(!shown.is(&Digits::new((n + 1) % 100).unwrap().text()));
    }
    assert_eq!(Digits::new(100), None);
}

#[test]
fn the_number_is_shown_on_one_side_only() {
    for (mode, on_pc, on_phone) in [
        (MatchMode::PhoneTypes, Some("07"), None),
        (MatchMode::PcTypes, None, Some("07")),
        (MatchMode::None, None, None),
    ] {
        let phone = alice();
        let step = decide(&waiting(mode), &scan_of(id(2), &phone), T0 + 100 * S);
        let Ok(Outcome::Scanned(seen)) = &step.outcome else {
            panic!("{:?}", step.outcome)
        };
        assert_eq!((seen.number.mode, seen.number.code.as_deref()), (mode, on_phone));
        assert_eq!((seen.request.age_ms, seen.request.same_network), (100 * S, true));
        assert_eq!(seen.request.ip, "203.0.113.9");
        let push = step.events[0].push(T0 + 101 * S, "https://example.com");
        let number = push.number.unwrap();
        assert_eq!((number.mode, number.code.as_deref()), (mode, on_pc));
        assert_eq!(
            (push.expires_in_ms, push.qr_id),
            (Some(59 * S), id(2).to_string())
        );
        assert_eq!(push.user.unwrap().name.as_deref(), Some("ALICE"));
    }
}

#[test]
fn a_redemption_repeats_itself_for_its_grace() {
    let attempt = redeemed();
    let policy = Policy::default();
    let other = Sealed::new(*b"made for the second call");
    let again = |at: u64| decide(&attempt, &redeem(&other), at).outcome;
    assert_eq!(again(T0 + 93 * S), Ok(Outcome::RedeemedAgain(sealed())));
    assert_eq!(again(T0 + 123 * S - 1), Ok(Outcome::RedeemedAgain(sealed())));
    assert_eq!(again(T0 + 123 * S).unwrap_err().code, ErrorCode::AlreadyFinal);
    assert_eq!(again(T0 + 153 * S).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(
        (attempt.due_at(&policy), attempt.forget_at(&policy)),
        (T0 + 123 * S, Some(T0 + 153 * S))
    );
    let bare = run(&attempt, &tick(9), T0 + 123 * S);
    assert!(
        !serde_json::to_string(&bare)
            .unwrap()
            .contains("c2VhbGVkIHJlc3VsdA"),
        "the result is gone"
    );
    assert_eq!(bare.due_at(&policy), T0 + 153 * S);
    assert_eq!(
        decide(&bare, &tick(9), T0 + 153 * S).outcome,
        Ok(Outcome::Forgotten)
    );
    let ask = Command::AskOutcome {
        qr_id: id(2),
        phone: &alice(),
    };
    let session = Some(PC_SESSION.into());
    let told = Outcome::Asked {
        state: QrState::Redeemed,
        reason: None,
        session,
    };
    assert_eq!(decide(&bare, &ask, T0 + 130 * S).outcome, Ok(told));
}

#[test]
fn a_resumed_pc_is_told_what_it_missed() {
    let attempt = redeemed();
    let states = |after| -> Vec<(u32, QrState)> {
        attempt
            .events_after(after)
            .iter()
            .map(|event| (event.seq, event.state()))
            .collect()
    };
    let whole = [
        (1, QrState::Waiting),
        (2, QrState::Waiting),
        (3, QrState::Waiting),
        (4, QrState::Scanned),
        (5, QrState::Confirmed),
        (6, QrState::Redeemed),
    ];
    assert_eq!(states(Some(0)), whole);
    assert_eq!(states(Some(4)), whole[4..]);
    assert_eq!(states(None), whole[5..]);
    assert_eq!((states(Some(6)), states(Some(u32::MAX))), (vec![], vec![]));
    assert_eq!(attempt.events_after(Some(1))[0].qr_id, id(1));
    let ticket = attempt.events_after(Some(4))[0]
        .push(T0, "https://example.com")
        .ticket;
    assert_eq!(ticket.as_deref(), Some(TICKET));
    let Ok(Outcome::Current(event)) = decide(&confirmed(), &POLL, T0 + 95 * S).outcome else {
        panic!()
    };
    assert_eq!(event.push(T0 + 95 * S, "").expires_in_ms, Some(27 * S));
}

#[test]
fn a_right_answer_is_an_event_of_its_own() {
    let answer = Command::Answer {
        claim: CLAIM,
        device: PC,
        code: "07",
    };
    let step = decide(&scanned(MatchMode::PcTypes), &answer, T0 + 100 * S);
    assert_eq!(step.outcome, Ok(Outcome::Matched));
    let EventKind::Scanned {
        matched,
        expires_at,
        code,
        ..
    } = &step.events[0].kind
    else {
        panic!()
    };
    assert_eq!((*matched, *expires_at, *code), (true, T0 + 151 * S, None));
}

#[test]
fn secrets_do_not_show() {
    let attempt = redeemed();
    let steps = [
        decide(&attempt, &redeem(&sealed()), T0 + 94 * S),
        decide(&confirmed(), &POLL, T0 + 94 * S),
        decide(&confirmed(), &redeem(&sealed()), T0 + 94 * S),
    ];
    let shown = format!(
        "{attempt:?} {:?} {steps:?} {:?}",
        attempt.events_after(Some(0)),
        redeem(&sealed())
    );
    let digest_bytes = format!("{:?}", [1u8, 1, 1]);
    for secret in [
        TICKET,
        "sealed result",
        "115, 101, 97",
        "Digits(7",
        digest_bytes.trim_matches(['[', ']']),
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn an_attempt_is_small() {
    let policy = Policy::default();
    let mut opening = opening(MatchMode::PhoneTypes);
    opening.user_agent = Some("é".repeat(500).into());
    opening.device.name = Some("ü".repeat(100).into());
    opening.dpop_jkt = Some("x".repeat(43).into());
    let coordinate = || "A".repeat(43).into();
    let jwk = PublicKey {
        kty: "EC".into(),
        crv: "P-256".into(),
        x: coordinate(),
        y: coordinate(),
    };
    opening.public_key = P256Key::from_jwk(&jwk);
    assert_eq!(opening.public_key.as_ref().unwrap().to_jwk(), jwk);
    let mut attempt = open(opening, T0, &policy);
    assert_eq!(attempt.user_agent().unwrap().len(), USER_AGENT_BYTES_MAX);
    assert_eq!(
        attempt.device().name.as_deref().unwrap().chars().count(),
        DEVICE_NAME_CHARS_MAX
    );
    for n in 1..=6 {
        attempt = run(&attempt, &tick(n), T0 + u64::from(n) * 45 * S);
    }
    attempt = run(&attempt, &scan_of(id(6), &alice()), T0 + 280 * S);
    let heap = attempt.ids.capacity() * size_of::<Minted>()
        + attempt.log.capacity() * size_of::<Entry>()
        + attempt.user_agent.as_ref().map_or(0, |text| text.len())
        + attempt.device.name.as_ref().map_or(0, |text| text.len())
        + attempt.dpop_jkt.as_ref().map_or(0, |text| text.len())
        + size_of::<P256Key>()
        + size_of::<Scanner>()
        + 64;
    let whole = size_of::<Attempt>() + heap;
    println!("attempt {} + heap {heap} = {whole} bytes", size_of::<Attempt>());
    assert!(whole < 1536, "{whole}");
}

#[test]
fn ids_have_one_spelling() {
    let qr_id = QrId([0xfb; 16]);
    let text = qr_id.to_string();
    assert_eq!((text.len(), QrId::parse(&text)), (22, Some(qr_id)));
    let mut loose = text.clone();
    loose.replace_range(21.., "-");
    assert_ne!(loose, text);
    let padded = format!("{text}==");
    for bad in [
        "",
        "a",
        &text[1..],
        &padded,
        &loose,
        "++++++++++++++++++++++",
        "ééééééééééé",
    ] {
        assert_eq!(QrId::parse(bad), None, "{bad}");
    }
}

#[test]
fn networks_are_told_apart() {
    for (a, b, same) in [
        ("203.0.113.9", "203.0.113.9", true),
        ("::ffff:203.0.113.9", "203.0.113.9", true),
        ("203.0.113.9", "203.0.113.8", false),
        ("192.168.1.2", "192.168.1.2", false),
        ("10.0.0.1", "10.0.0.1", false),
        ("127.0.0.1", "127.0.0.1", false),
        ("169.254.0.1", "169.254.0.1", false),
        ("100.64.3.4", "100.64.3.4", false),
        ("100.128.3.4", "100.128.3.4", true),
        ("0.0.0.0", "0.0.0.0", false),
        ("2a02:8:1:2::1", "2a02:8:1:2:ffff::9", true),
        ("2a02:8:1:2::1", "2a02:8:1:3::1", false),
        ("::1", "::1", false),
        ("fd00::1", "fd00::2", false),
        ("fe80::1", "fe80::2", false),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", false),
        ("2a02:8:1:2::1", "203.0.113.9", false),
    ] {
        assert_eq!(
            same_network(a.parse().unwrap(), b.parse().unwrap()),
            same,
            "{a} {b}"
        );
    }
}
