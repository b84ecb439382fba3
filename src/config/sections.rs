//! The tables of a configuration but its limits, namespaces and seeded accounts.

use std::path::PathBuf;

use countersign_protocol::server::MatchMode;

use super::settings::{settings, tables};
use super::users::SeededUser;
use super::value::words;
use crate::auth::password::{COST_ITERATIONS_MAX, COST_MEMORY_KIB_MAX, COST_MEMORY_KIB_MIN};

/// Milliseconds of a day.
const DAY: u64 = 24 * 3_600_000;

settings! {
    /// The built-in accounts.
    #[derive(Debug, Clone)]
    pub struct Accounts {
        open_registration: bool = true, "", Free,
            "whether anybody may create an account";
        argon2_memory_kib: u32 = 19 * 1024, "KiB", Within(COST_MEMORY_KIB_MIN as u64, COST_MEMORY_KIB_MAX as u64),
            "memory of one password check (OWASP's figure)";
        argon2_iterations: u32 = 2, "passes", Within(1, COST_ITERATIONS_MAX as u64),
            "passes of one password check (OWASP's figure)";
        users: Vec<SeededUser> = Vec::new(), "", Form("at most 1,000, each id once"),
            "accounts that are there from the start; `countersign hash-password` makes the hashes" [Secret];
    }
}

settings! {
    /// Tokens the gateway issues.
    #[derive(Debug, Clone)]
    pub struct Tokens {
        issuer: Option<String> = None, "", Form("an https address without query, fragment and slash at its end; http on loopback"),
            "claim `iss`; without it `public_origin`. What reads `/.well-known/oauth-authorization-server` expects it to be the address it was read from"
            like "\"https://login.example\"";
        audience: String = "countersign".into(), "", Free,
            "claim `aud`";
        access_ms: u64 = 15 * 60_000, "ms", Within(1_000, DAY),
            "life of an access token";
        refresh_ms: u64 = 30 * DAY, "ms", Within(1_000, 400 * DAY),
            "life of a refresh token, and of a session that is not refreshed";
        refresh_grace_ms: u64 = 10_000, "ms", Within(0, 60_000),
            "a repeated refresh from the same device gets the same pair for this long";
        expiring_ms: u64 = 60_000, "ms", Within(0, DAY),
            "warning before a connection's token expires";
        key_file: Option<PathBuf> = None, "", Form("PKCS#8, PEM or DER, Ed25519, not encrypted"),
            "the signing key; `openssl genpkey -algorithm ed25519 -out signing-key.pem` makes one. Without it a key is made at the start, and tokens end with the process"
            like "\"signing-key.pem\"";
    }
}

settings! {
    /// QR logins.
    #[derive(Debug, Clone)]
    pub struct Qr {
        lifetime_ms: u64 = 300_000, "ms", Within(100, DAY),
            "life of a code that nobody scans";
        rotate_ms: u64 = 45_000, "ms", Within(50, DAY),
            "a new code this often, at most 16 to a life; the one before works for as long again";
        idle_ms: u64 = 60_000, "ms", Within(50, DAY),
            "a waiting code that nobody watches ends after this";
        scanned_ms: u64 = 60_000, "ms", Within(50, DAY),
            "time to confirm after the first scan";
        confirmed_ms: u64 = 30_000, "ms", Within(50, DAY),
            "time to redeem after the confirmation";
        match_mode: MatchMode = MatchMode::PhoneTypes, "", Free,
            "who types the number that the other side shows. `pc_types` also protects against a stranger who sees the screen and confirms first. `none` gives up the protection that the number is";
        step_up: StepUp = StepUp::Never, "", Free,
            "whether each confirmation takes the account's password";
    }
}

settings! {
    /// QR logins that apps open by OAuth, as device authorizations.
    #[derive(Debug, Clone)]
    pub struct OAuth {
        lifetime_ms: u64 = 300_000, "ms", Within(1_000, DAY),
            "life of a device code and its user code until somebody scans or types";
        interval_ms: u64 = 5_000, "ms", Within(1_000, 60_000),
            "a device that waits asks for its tokens at most this often (RFC 8628 §3.2)";
        confirmed_ms: u64 = 120_000, "ms", Within(1_000, DAY),
            "time to fetch the tokens after the confirmation";
    }
}

settings! {
    /// Rooms.
    #[derive(Debug, Clone)]
    pub struct Rooms {
        counts_interval_ms: u32 = 200, "ms", Within(1, 60_000),
            "counts and presence of a room are sent at most this often";
        idle_ms: u64 = 5 * 60_000, "ms", Within(1, DAY),
            "an empty room is forgotten after this; one in which nothing was ever said or liked, after a second";
        history_messages: usize = 300, "messages", Within(0, 100_000),
            "messages kept per room";
        history_bytes: usize = 256 * 1024, "bytes", Within(0, 64 << 20),
            "bytes of message bodies kept per room";
        history_ms: u64 = 5 * 60_000, "ms", Within(0, 30 * DAY),
            "age up to which messages are kept";
        cid_ms: u64 = 5 * 60_000, "ms", Within(1, DAY),
            "a `cid` is remembered this long";
        cid_entries: usize = 12_000, "", Within(1, 1_000_000),
            "`cid`s remembered per room; a full window refuses new ones";
    }
}

settings! {
    /// Leaving without losing anybody.
    #[derive(Debug, Clone)]
    pub struct Drain {
        grace_ms: u64 = 10_000, "ms", Within(0, DAY),
            "from `/readyz` turning false to the first `reconnect`";
        spread_ms: u64 = 10_000, "ms", Within(0, DAY),
            "over how long connections are told to come back";
        hard_ms: u64 = 120_000, "ms", Within(1, DAY),
            "after this everything is closed";
    }
}

tables!(Accounts, Tokens, Qr, OAuth, Rooms, Drain);

/// When a phone that is signed in has to show once more who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUp {
    Never,
    /// At every confirmation.
    Always,
}

words!(StepUp { "never" => StepUp::Never, "always" => StepUp::Always });
words!(MatchMode {
    "phone_types" => MatchMode::PhoneTypes,
    "pc_types" => MatchMode::PcTypes,
    "none" => MatchMode::None,
});
