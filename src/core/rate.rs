//! Rates, as a generic cell rate algorithm on plain milliseconds: a token bucket whose whole state is one
//! number, the instant at which the bucket is full again. It says when to try again, and can keep a share.

#[cfg(test)]
mod tests;

const NANOS_PER_MS: u64 = 1_000_000;

/// How often something may happen. Counted in nanoseconds inside, so that rates up to 10^9 per second keep
/// their ratio; a span that does not divide evenly is rounded up, towards fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time one unit takes to come back; 0: no limit.
    every_ns: u64,
    /// Units that may happen at one instant, at least 1.
    burst: u32,
}

impl Rate {
    /// Nothing is refused.
    pub const UNLIMITED: Self = Self {
        every_ns: 0,
        burst: 1,
    };

    /// `n` units per `period_ms` milliseconds, `burst` of them at once (0 counts as 1). `n` of 0 switches
    /// the limit off.
    pub const fn new(n: u32, period_ms: u64, burst: u32) -> Self {
        if n == 0 {
            return Self::UNLIMITED;
        }
        let period_ns = period_ms.saturating_mul(NANOS_PER_MS);
        Self {
            every_ns: period_ns.div_ceil(n as u64),
            burst: if burst == 0 { 1 } else { burst },
        }
    }

    /// `n` units per second, `burst` of them at once.
    pub const fn per_second(n: u32, burst: u32) -> Self {
        Self::new(n, 1_000, burst)
    }

    /// `n` units per minute, `burst` of them at once.
    pub const fn per_minute(n: u32, burst: u32) -> Self {
        Self::new(n, 60_000, burst)
    }

    /// The rate and its burst `factor` times as high, as the limits profile `bench` asks for.
    pub const fn scaled(self, factor: u32) -> Self {
        if factor == 0 || self.every_ns == 0 {
            return self;
        }
        let every_ns = self.every_ns.div_ceil(factor as u64);
        Self {
            every_ns,
            burst: self.burst.saturating_mul(factor),
        }
    }

    /// Whether nothing is refused.
    pub const fn is_unlimited(&self) -> bool {
        self.every_ns == 0
    }

    /// Units that may happen at one instant.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Time an empty bucket takes to fill, nanoseconds.
    const fn depth_ns(&self) -> u64 {
        self.every_ns.saturating_mul(self.burst as u64)
    }
}

/// The state of one bucket, 8 bytes; a new one is full. `now` is milliseconds on any one clock; when that
/// steps back, what was spent comes back that much later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gcra(u64);

impl Gcra {
    /// A full bucket.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Takes `n` units, or says after how many milliseconds (at least 1) they can be had; a refusal costs
    /// nothing. More units than the burst are given by a full bucket, which then stays empty for longer:
    /// the rate holds in the long run and no request is refused for ever.
    ///
    /// # Errors
    /// When the units are not there yet.
    pub fn check(&mut self, rate: &Rate, now: u64, n: u32) -> Result<(), u64> {
        self.take(rate, now, n, rate.depth_ns())
    }

    /// Takes one unit, but only while `reserved_share_percent` (0 to 100) of the burst stay free, so that
    /// callers of [`check`](Gcra::check) find them. In a quiet room the full rate is had all the same. A
    /// full bucket always gives one, or a burst of 1 would shut everybody out.
    ///
    /// # Errors
    /// When the unit is not there yet, with the milliseconds as for [`check`](Gcra::check).
    pub fn check_reserving(&mut self, rate: &Rate, now: u64, reserved_share_percent: u8) -> Result<(), u64> {
        let open = 100 - u64::from(reserved_share_percent.min(100));
        // Whole units: half of a burst of 5 keeps 3 and leaves 2.
        let open_units = u64::from(rate.burst) * open / 100;
        self.take(rate, now, 1, rate.every_ns.saturating_mul(open_units))
    }

    /// Whether the bucket is full, so that a map may forget it.
    pub fn is_full(&self, now: u64) -> bool {
        self.0 <= now.saturating_mul(NANOS_PER_MS)
    }

    fn take(&mut self, rate: &Rate, now: u64, n: u32, depth_ns: u64) -> Result<(), u64> {
        if rate.is_unlimited() {
            return Ok(());
        }
        let now_ns = now.saturating_mul(NANOS_PER_MS);
        let cost_ns = rate.every_ns.saturating_mul(u64::from(n));
        let full_at = self.0.max(now_ns).saturating_add(cost_ns);
        let late_ns = (full_at - now_ns).saturating_sub(depth_ns.max(cost_ns));
        if late_ns > 0 {
            return Err(late_ns.div_ceil(NANOS_PER_MS));
        }
        self.0 = full_at;
        Ok(())
    }
}
