use proptest::prelude::*;

use super::*;

/// Tokens as time, filled step by step; a debt is a negative fill.
struct Bucket {
    fill_ns: i128,
    depth_ns: i128,
    every_ns: i128,
    at_ms: u64,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        let every_ns = i128::from(rate.every_ns);
        let depth_ns = every_ns * i128::from(rate.burst);
        Self {
            fill_ns: depth_ns,
            depth_ns,
            every_ns,
            at_ms: 0,
        }
    }

    fn fill(&mut self, now: u64) {
        let came = i128::from(now - self.at_ms) * 1_000_000;
        self.fill_ns = (self.fill_ns + came).min(self.depth_ns);
        self.at_ms = now;
    }

    fn take(&mut self, now: u64, n: u32, kept_units: u32) -> bool {
        self.fill(now);
        let cost = self.every_ns * i128::from(n);
        let kept = self.every_ns * i128::from(kept_units);
        let admitted = self.fill_ns - cost >= kept || self.fill_ns == self.depth_ns;
        if admitted {
            self.fill_ns -= cost;
        }
        admitted
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_bucket_agrees(
        n in 1_u32..60,
        period_ms in 1_u64..3_000,
        burst in 1_u32..12,
        steps in prop::collection::vec((0_u64..400, 0_u32..6, prop::option::of(0_u8..=100)), 1..120),
    ) {
        let rate = Rate::new(n, period_ms, burst);
        let (mut gcra, mut bucket, mut now) = (Gcra::new(), Bucket::new(rate), 0);
        for (wait, n, reserved) in steps {
            now += wait;
            let before = gcra;
            let got = match reserved {
                None => gcra.check(&rate, now, n),
                Some(percent) => gcra.check_reserving(&rate, now, percent),
            };
            let (n, kept) = match reserved {
                None => (n, 0),
                Some(percent) => (1, (burst * u32::from(percent)).div_ceil(100)),
            };
            prop_assert_eq!(got.is_ok(), bucket.take(now, n, kept));
            prop_assert_eq!(gcra.is_full(now), bucket.fill_ns == bucket.depth_ns);
            if let Err(after_ms) = got {
                prop_assert_eq!(gcra, before, "a refusal costs nothing");
                let again = |mut gcra: Gcra, at| match reserved {
                    None => gcra.check(&rate, at, n).is_ok(),
                    Some(percent) => gcra.check_reserving(&rate, at, percent).is_ok(),
                };
                prop_assert!(again(gcra, now + after_ms), "after_ms is enough");
                prop_assert!(!again(gcra, now + after_ms - 1), "and not too much");
            }
        }
    }

    #[test]
    fn never_more_than_rate_and_burst(n in 1_u32..50, burst in 1_u32..20, waits in prop::collection::vec(0_u64..60, 1..200)) {
        let rate = Rate::per_second(n, burst);
        let (mut gcra, mut now, mut admitted) = (Gcra::new(), 1_795_305_226_000, 0_u64);
        let start = now;
        for wait in waits {
            now += wait;
            admitted += u64::from(gcra.check(&rate, now, 1).is_ok());
            prop_assert!(admitted <= u64::from(burst) + (now - start) * u64::from(n) / 1_000);
        }
    }

    #[test]
    fn nothing_overflows(n in any::<u32>(), period in any::<u64>(), burst in any::<u32>(), factor in any::<u32>(), now in any::<u64>(), units in any::<u32>(), percent in any::<u8>()) {
        let rate = Rate::new(n, period, burst).scaled(factor);
        let mut gcra = Gcra::new();
        for _ in 0..3 {
            let _ = gcra.check(&rate, now, units);
            let _ = gcra.check_reserving(&rate, now, percent);
        }
    }
}

#[test]
fn an_uneven_span_is_rounded_towards_fewer() {
    assert_eq!(Rate::per_second(3, 1).every_ns, 333_333_334);
    assert_eq!(Rate::per_second(3, 1).scaled(7).every_ns, 47_619_048);
}

#[test]
fn a_state_is_eight_bytes() {
    assert_eq!(size_of::<Gcra>(), 8);
}

#[test]
fn half_of_a_room_is_kept_for_high() {
    let rate = Rate::per_second(40, 40);
    let mut gcra = Gcra::new();
    let now = 1_795_305_226_000;
    let normal = (0..100)
        .filter(|_| gcra.check_reserving(&rate, now, 50).is_ok())
        .count();
    let high = (0..100).filter(|_| gcra.check(&rate, now, 1).is_ok()).count();
    assert_eq!((normal, high), (20, 20));
    // With nobody at the higher class, the lower one has the whole rate.
    let mut gcra = Gcra::new();
    let paced = (0..1_000)
        .filter(|ms| gcra.check_reserving(&rate, now + ms, 50).is_ok())
        .count();
    assert_eq!(paced, 20 + 39);
}

#[test]
fn the_bench_profile_is_a_thousandfold() {
    let rate = Rate::per_second(40, 40).scaled(1_000);
    assert_eq!((rate.every_ns, rate.burst()), (25_000, 40_000));
    let rate = Rate::per_minute(60, 200).scaled(1_000);
    assert_eq!((rate.every_ns, rate.burst()), (1_000_000, 200_000));
    assert!(Rate::new(0, 1_000, 5).scaled(1_000).is_unlimited());
    assert!(Rate::UNLIMITED.is_unlimited() && !rate.is_unlimited());
    let mut gcra = Gcra::new();
    assert!((0..1_000).all(|_| gcra.check(&Rate::UNLIMITED, 0, u32::MAX).is_ok()));
}

#[test]
fn more_than_the_burst_is_paid_off_afterwards() {
    let rate = Rate::per_second(10, 5);
    let mut gcra = Gcra::new();
    assert_eq!(gcra.check(&rate, 1_000, 20), Ok(()));
    assert_eq!(gcra.check(&rate, 1_000, 1), Err(1_600));
    assert_eq!(gcra.check(&rate, 2_600, 1), Ok(()));
}
