use super::*;
use crate::wire::stamp::body;

const RUN: u32 = 5;
/// When messages are read.
const AT: Nanos = 2_000;

fn text(number: u64) -> String {
    let (mut text, at) = body(80);
    let stamp = Stamp {
        run: RUN,
        number,
        intended_at: 1_000 + number,
    };
    stamp.write(&mut text[at..]);
    String::from_utf8(text).unwrap()
}

fn push(offset: u64, number: u64) -> String {
    format!(
        r#"{{"type":"message","room":"a:b","offset":{offset},"at_ms":1,"from":{{"id":"u","role":"member"}},"body":{}}}"#,
        text(number)
    )
}

/// The reply to a join at `offset`, with these messages in it.
fn reply(epoch: &str, offset: u64, recovered: Option<bool>, messages: &[(u64, u64)]) -> String {
    let list: Vec<String> = messages.iter().map(|(o, n)| push(*o, *n)).collect();
    let recovered = recovered.map_or(String::new(), |r| format!(r#""recovered":{r},"#));
    format!(
        r#"{{"id":1,"type":"ok","room":"a:b","epoch":"{epoch}","offset":{offset},{recovered}"messages":[{}],"counts":{{"version":1,"viewers":1,"members":1,"counters":{{}}}},"info":{{"closed":false,"slow_mode_ms":0}},"me":{{"role":"member"}}}}"#,
        list.join(",")
    )
}

fn join(ledger: &mut Ledger, member: usize, reply: &str) -> Chain {
    ledger.joined(member, &serde_json::from_str(reply).unwrap())
}

/// Two members of one room that joined at 10 and have 11 and 12; member 0 sent both.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(RUN, &["a:b".to_owned()], 80, vec![0, 0]).unwrap();
    for member in 0..2 {
        assert_eq!(
            join(&mut ledger, member, &reply("e", 10, None, &[])),
            Chain::Begun
        );
        assert_eq!(ledger.message(member, push(11, 1).as_bytes(), AT), Some(1_001));
        assert_eq!(ledger.message(member, push(12, 2).as_bytes(), AT), Some(1_002));
    }
    ledger.tally.sent = 2;
    acknowledge(&mut ledger, 1, 11);
    acknowledge(&mut ledger, 2, 12);
    ledger
}

fn acknowledge(ledger: &mut Ledger, number: u64, offset: u64) {
    let ok = format!(
        r#"{{"id":{},"type":"ok","offset":{offset},"at_ms":1}}"#,
        FIRST_SEND_ID + number
    );
    assert_eq!(ledger.other(0, ok.as_bytes()), None);
}

fn sees(ledger: &mut Ledger, member: usize, upto: u64) {
    for offset in ledger.position(member).unwrap().offset + 1..=upto {
        assert!(
            ledger
                .message(member, push(offset, offset - 10).as_bytes(), AT)
                .is_some()
        );
    }
}

/// Numbers 3 to 8 come while member 1 is away, at 13 to 18.
fn away() -> Ledger {
    let mut ledger = ledger();
    sees(&mut ledger, 0, 18);
    ledger.tally.sent = 8;
    for number in 3..=8 {
        acknowledge(&mut ledger, number, number + 10);
    }
    assert!(!ledger.is_current(1) && ledger.is_current(0));
    assert_eq!(ledger.settle(|_| true).lost, 6);
    assert_eq!(
        ledger.settle(|m| m == 0).lost,
        0,
        "who did not come back may be left out"
    );
    assert_eq!(
        ledger.position(1).map(|p| (p.epoch, p.offset)),
        Some(("e".to_owned(), 12))
    );
    ledger
}

const MISSED: [(u64, u64); 6] = [(13, 3), (14, 4), (15, 5), (16, 6), (17, 7), (18, 8)];

#[test]
fn a_whole_recovery_leaves_nothing_open() {
    let mut ledger = away();
    assert_eq!(
        join(&mut ledger, 1, &reply("e", 18, Some(true), &MISSED)),
        Chain::Recovered
    );
    let loss = ledger.settle(|_| true);
    assert!(ledger.is_current(1) && ledger.settled(|_| true));
    assert_eq!(
        (loss.expected, loss.lost, loss.unexpected, loss.unanswered),
        (16, 0, 0, 0)
    );
    assert_eq!(
        (ledger.tally.replayed, ledger.tally.duplicated, ledger.tally.gaps),
        (6, 0, 0)
    );
}

#[test]
fn a_recovery_in_part_that_says_whole_is_loss() {
    for kept in [&MISSED[..5], &MISSED[1..], &[MISSED[0], MISSED[5]]] {
        let mut ledger = away();
        assert_eq!(
            join(&mut ledger, 1, &reply("e", 18, Some(true), kept)),
            Chain::Short
        );
        assert_eq!(ledger.settle(|_| true).lost, 6 - kept.len() as u64);
        assert!(!ledger.settled(|_| true));
    }
}

#[test]
fn what_a_recovery_repeats_is_a_duplicate() {
    let mut ledger = away();
    let mut twice = vec![(12, 2)];
    twice.extend(MISSED);
    join(&mut ledger, 1, &reply("e", 18, Some(true), &twice));
    assert_eq!(ledger.message(1, push(18, 8).as_bytes(), AT), None);
    assert_eq!(ledger.tally.duplicated, 2);
    assert_eq!(ledger.settle(|_| true).lost, 0);
}

#[test]
fn a_break_that_is_told_is_not_loss() {
    let mut ledger = away();
    assert_eq!(
        join(&mut ledger, 1, &reply("e", 18, Some(false), &MISSED[4..])),
        Chain::Broken
    );
    assert!(ledger.is_current(1));
    let loss = ledger.settle(|_| true);
    assert_eq!((ledger.tally.told, ledger.tally.replayed, loss.lost), (4, 2, 0));
    // The newest may reach back to what the member has.
    let mut ledger = away();
    let mut newest = vec![(11, 1), (12, 2)];
    newest.extend(MISSED);
    join(&mut ledger, 1, &reply("e", 18, Some(false), &newest));
    let loss = ledger.settle(|_| true);
    assert_eq!((ledger.tally.told, ledger.tally.duplicated, loss.lost), (0, 0, 0));
    let mut ledger = away();
    join(&mut ledger, 1, &reply("e", 18, Some(false), &[]));
    assert_eq!((ledger.tally.told, ledger.settle(|_| true).lost), (6, 0));
}

#[test]
fn another_epoch_ends_the_accounting_of_a_member_and_is_said() {
    let mut ledger = away();
    assert_eq!(
        join(&mut ledger, 1, &reply("f", 3, Some(false), &[])),
        Chain::OtherEpoch
    );
    assert_eq!(
        (ledger.settle(|_| true).expected, ledger.settle(|_| true).lost),
        (8, 0)
    );
}

#[test]
fn members_that_are_told_different_things_disagree() {
    let mut ledger = away();
    let mut other = MISSED;
    other[2].1 = 99;
    join(&mut ledger, 1, &reply("e", 18, Some(true), &other));
    assert_eq!(ledger.tally.disagreed, 1);
}

#[test]
fn gaps_refusals_and_the_rest() {
    let mut ledger = away();
    let gap = br#"{"type":"gap","room":"a:b","from":13,"to":18}"#;
    assert_eq!(ledger.other(1, gap), None);
    assert_eq!(ledger.settle(|_| true).lost, 0);
    assert_eq!(
        ledger.other(1, br#"{"type":"room","room":"a:b"}"#),
        Some("room".to_owned())
    );
    let limited = format!(
        r#"{{"id":{},"type":"error","code":"rate_limited","message":"","retry":true}}"#,
        FIRST_SEND_ID + 9
    );
    ledger.tally.sent += 1;
    assert_eq!(ledger.settle(|_| true).unanswered, 1);
    ledger.other(0, limited.as_bytes());
    assert_eq!(ledger.tally.refused.get("rate_limited"), Some(&1));
    assert_eq!(ledger.settle(|_| true).unanswered, 0);
    ledger.other(0, b"[");
    ledger.message(0, br#"{"type":"message"}"#, AT);
    assert_eq!(ledger.tally.malformed, 2);
}

/// Sums over the course of what was received, and what was missing at its end.
fn course(ledger: &mut Ledger) -> (u64, u64) {
    let course = ledger.series.take().unwrap().finish(2);
    let last = course.rows.last().unwrap();
    (course.rows.iter().map(|r| r.received).sum(), last.missing)
}

#[test]
fn the_course_has_every_delivery_once_and_what_is_missing_so_far() {
    // Of six, two are replayed, one comes late and one is told: two are missing.
    let mut ledger = away();
    ledger.series = Some(Series::new(None).unwrap());
    join(
        &mut ledger,
        1,
        &reply("e", 18, Some(true), &[MISSED[0], MISSED[5]]),
    );
    ledger.message(1, push(14, 4).as_bytes(), AT);
    ledger.message(1, push(14, 4).as_bytes(), AT);
    ledger.other(1, br#"{"type":"gap","room":"a:b","from":13,"to":15}"#);
    assert_eq!(course(&mut ledger), (3, 2));
    assert_eq!((ledger.tally.told, ledger.settle(|_| true).lost), (1, 2));
    // Another numbering takes what was missing of the old one out of the account.
    ledger.series = Some(Series::new(None).unwrap());
    ledger.message(0, push(21, 11).as_bytes(), AT);
    join(&mut ledger, 0, &reply("f", 3, Some(false), &[]));
    assert_eq!(course(&mut ledger), (1, 0));
}
