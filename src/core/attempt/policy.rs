//! How long each step of an attempt may take.

use serde::{Deserialize, Serialize};

/// Most QR ids one attempt ever has. [`Policy::rotate_every_ms`] keeps to it.
pub const IDS_MAX: usize = 16;

/// Times and tries of a QR login. The defaults are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Longest an attempt waits for a scan, milliseconds from open. Default 300,000.
    pub lifetime_ms: u64,
    /// The code changes after this, milliseconds; the former one works for as long again. Default 45,000.
    pub rotate_ms: u64,
    /// A waiting attempt that nobody watches or polls ends after this, milliseconds. Default 60,000.
    pub idle_ms: u64,
    /// From the first scan to the confirmation, milliseconds; scanning again does not extend it. Default 60,000.
    pub scanned_ms: u64,
    /// From the confirmation to the redemption, milliseconds. Default 30,000.
    pub confirmed_ms: u64,
    /// [`lifetime_ms`](Self::lifetime_ms) of a device authorization, milliseconds. Default 300,000.
    pub grant_lifetime_ms: u64,
    /// [`confirmed_ms`](Self::confirmed_ms) of a device authorization, milliseconds: its device may ask only every few
    /// seconds. Default 120,000.
    pub grant_confirmed_ms: u64,
    /// The same redeem gives the same result for this long after the first, milliseconds. Default 30,000.
    pub redeem_grace_ms: u64,
    /// A final state stays readable for this long, milliseconds. Default 60,000.
    pub final_ms: u64,
    /// The wrong code with this number ends the attempt; both sides together. Default 3, 0 counts as 1.
    pub tries_max: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lifetime_ms: 300_000,
            rotate_ms: 45_000,
            idle_ms: 60_000,
            scanned_ms: 60_000,
            confirmed_ms: 30_000,
            grant_lifetime_ms: 300_000,
            grant_confirmed_ms: 120_000,
            redeem_grace_ms: 30_000,
            final_ms: 60_000,
            tries_max: 3,
        }
    }
}

impl Policy {
    /// Milliseconds between rotations: `rotate_ms`, stretched where a lifetime would otherwise see more
    /// than [`IDS_MAX`] ids.
    pub fn rotate_every_ms(&self) -> u64 {
        let least = self.lifetime_ms.div_ceil(IDS_MAX as u64);
        self.rotate_ms.max(least).max(1)
    }
}
