//! The driver on frames whose times of arrival are given: no socket, no clock.

use super::driver::Driver;
use super::gather::Gathered;
use super::{Load, RoomPlan, RoomResult, Share, Variant};
use crate::clock::{MICRO, MILLI, Nanos, SECOND};
use crate::engine::socket::Acks;
use crate::engine::{Engine, Handler};
use crate::fleet::Dialect;
use crate::host::usage::Usage;
use crate::wire::stamp::{Stamp, body};

const RUN: u32 = 9;

fn driver(per_room: usize) -> Driver {
    let load = Load::Paced { per_second: 1_000.0 };
    let plan = RoomPlan {
        rooms: 1,
        per_room,
        publishers: 1,
        load,
        acks: load.acks(),
        body_bytes: 100,
        warmup: 0,
        window: SECOND,
        drain: 0,
        check: false,
        decode_every: 1_000,
        variant: Variant::default(),
    };
    let joined = Gathered {
        rooms: vec![("default:r".to_owned(), Vec::new())],
        bases: vec![0; per_room],
        series: None,
    };
    let mut driver = Driver::new(&plan, Dialect::Countersign, RUN, Share::WHOLE, joined).unwrap();
    driver.window = (SECOND, 2 * SECOND);
    driver.counting = true;
    driver
}

fn frame(run: u32, offset: u64, intended_at: Nanos) -> Vec<u8> {
    let (mut text, at) = body(100);
    let stamp = Stamp {
        run,
        number: offset,
        intended_at,
    };
    stamp.write(&mut text[at..]);
    let text = String::from_utf8(text).unwrap();
    format!(
        r#"{{"type":"message","room":"default:r","offset":{offset},"at_ms":1,"from":null,"body":{text}}}"#
    )
    .into_bytes()
}

#[test]
fn latencies_are_those_of_the_messages() {
    let mut engine = Engine::new(Acks::Prompt).unwrap();
    let mut driver = driver(2);
    // The i-th message takes i ms to the first member and 1 ms more to the second.
    for i in 1..=1_000_u64 {
        let intended_at = SECOND + i * MICRO;
        for member in 0..2 {
            let at = intended_at + (i + member) * MILLI;
            let member = usize::try_from(member).unwrap();
            driver.text(&mut engine.io, member, &frame(RUN, i, intended_at), at);
        }
    }
    let p = driver.latency.percentiles();
    assert_eq!(p.count, 2_000);
    for (got, want) in [
        (p.p50_us, 501_000.0),
        (p.p90_us, 901_000.0),
        (p.p99_us, 991_000.0),
        (p.max_us, 1_001_000.0),
    ] {
        assert!((got - want).abs() / want < 0.001, "{got} for {want}");
    }
    assert_eq!(
        (driver.tally.delivered, driver.tally.counted, driver.tally.decoded),
        (2_000, 2_000, 2)
    );
}

#[test]
fn warm_up_duplicates_and_strangers_are_in_no_percentile() {
    let mut engine = Engine::new(Acks::Prompt).unwrap();
    let mut driver = driver(1);
    let mut arrive = |bytes: &[u8], at| driver.text(&mut engine.io, 0, bytes, at);
    // Meant before the measured span, and after it.
    arrive(&frame(RUN, 1, SECOND - 1), SECOND + MILLI);
    arrive(&frame(RUN, 2, 2 * SECOND), 2 * SECOND + MILLI);
    // Meant within, arriving after: it counts, or a slow server would look fast.
    arrive(&frame(RUN, 3, 2 * SECOND - 1), 9 * SECOND);
    arrive(&frame(RUN, 3, 2 * SECOND - 1), 9 * SECOND);
    arrive(&frame(RUN + 1, 4, SECOND + 1), SECOND + 2);
    arrive(
        br#"{"type":"message","room":"default:r","offset":5,"body":"hello"}"#,
        SECOND,
    );
    arrive(br#"{"type":"message","room":"default:r"}"#, SECOND);
    let t = &driver.tally;
    assert_eq!((t.delivered, t.duplicated, t.foreign, t.malformed), (3, 1, 2, 1));
    assert_eq!((t.gaps, t.out_of_order), (0, 0), "strangers have offsets too");
    let p = driver.latency.percentiles();
    assert_eq!(p.count, 1);
    assert!((p.max_us - 7_000_000.0).abs() < 7_000.0);
}

#[test]
fn a_schedule_is_kept_whatever_happens() {
    let mut engine = Engine::new(Acks::Prompt).unwrap();
    let mut driver = driver(1);
    driver.begin(&mut engine.io, SECOND);
    // Nobody is connected, so each send that falls due is one that could not be made.
    let due = driver.send_due(&mut engine.io, SECOND - 1);
    assert_eq!((due, driver.tally.unsent), (SECOND, 0));
    let due = driver.send_due(&mut engine.io, SECOND + 10 * MILLI);
    assert_eq!((due, driver.tally.unsent), (SECOND + 11 * MILLI, 11));
    // The last was on time, the first 10 ms late.
    assert!((driver.lag.percentiles().max_us - 10_000.0).abs() < 20.0);
    driver.stop();
    assert_eq!(driver.send_due(&mut engine.io, 9 * SECOND), 10 * SECOND);
    assert_eq!(driver.tally.unsent, 11);
}

#[test]
fn a_burst_says_that_it_is_a_closed_loop() {
    let note = Load::InFlight { messages: 4 }.note().unwrap();
    assert!(
        note.starts_with("note: ") && note.contains("closed loop"),
        "{note}"
    );
    assert_eq!(Load::Paced { per_second: 5.0 }.note(), None);
}

#[test]
fn the_ramp_and_the_measured_span_are_marked_each_for_itself() {
    let clean = Usage {
        seconds: 1.0,
        ..Usage::default()
    };
    let mut result = RoomResult {
        ramp: clean,
        usage: clean,
        ..RoomResult::default()
    };
    assert!(result.warnings().is_empty());
    result.ramp.saturated = true;
    result.usage.steal = 0.5;
    let warnings = result.warnings();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with("SATURATED: in the ramp "), "{warnings:?}");
    assert!(
        warnings[1].starts_with("STEAL: in the measured span "),
        "{warnings:?}"
    );
}

#[test]
fn a_latency_of_nothing_is_not_measured_and_passes_no_assertion() {
    let metrics = super::RoomResult::default().metrics();
    for name in ["p50", "p99.9", "max", "send_lag_p99"] {
        assert_eq!(metrics.named(name).unwrap().value, None, "{name}");
    }
    let assertion: crate::assertion::Assertion = "p99<5ms".parse().unwrap();
    assertion.check(&metrics).unwrap();
    assert!(!assertion.decide(&metrics).passed);
}
