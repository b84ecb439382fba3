//! Configuration: one tree. `Default` is the documentation of what runs without any; `validate` returns
//! everything that is wrong at once. Durations are milliseconds and end in `_ms`.

mod file;
pub mod limits;
pub mod operator;
mod origins;
pub mod proxies;
pub mod tls;
pub mod unix;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_protocol::server::MatchMode;
use serde::Deserialize;

pub use limits::{Limits, Profile};
pub use operator::OperatorKey;
pub use origins::is_origin;
pub use proxies::ForwardingHeader;
pub use tls::Tls;
pub use unix::Unix;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Public port: WebSocket, HTTP, pages. Default `127.0.0.1:8080`; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// Operator's port: health and readiness. Default `127.0.0.1:9090`.
    pub operator_listen: SocketAddr,
    /// What whoever operates it shows on the operator's port to change anything there. Default none: nothing can be
    /// changed.
    pub operator_key: Option<OperatorKey>,
    /// Names by which the operator's port may be called to change something, beside those of loopback; with the
    /// port, if it is not the scheme's own. Default none.
    pub operator_hosts: Vec<String>,
    /// What browsers see in front of us, such as `https://login.example`. Default: the listening address, and
    /// any loopback name as origin.
    pub public_origin: Option<String>,
    /// Further origins whose pages may connect, exact. Default none.
    pub allowed_origins: Vec<String>,
    /// Addresses and networks of proxies in front of us: only they are believed about where a request comes from.
    /// Default none.
    pub trusted_proxies: Vec<String>,
    /// Where they write it down: `x_forwarded_for`, `forwarded`, or `any`. Default `any`.
    pub forwarding_header: ForwardingHeader,
    /// Whether those proxies write a PROXY header (version 1 or 2) in front of each connection. Default false.
    pub proxy_protocol: bool,
    /// `default` or `bench`. `bench` raises every rate and every count per address and per user a thousandfold and
    /// is refused unless bound to loopback.
    pub limits_profile: Profile,
    pub tls: Tls,
    pub unix: Unix,
    /// Levels of the log by module, such as `info,countersign::node=debug`. Default `info`; the variable
    /// `COUNTERSIGN_LOG` wins over it.
    pub log_levels: Option<String>,
    pub accounts: Accounts,
    pub tokens: Tokens,
    pub qr: Qr,
    pub rooms: Rooms,
    pub limits: Limits,
    pub drain: Drain,
    /// Namespaces by name; those of a file are added to `default`, `chat` and `live` (the last with
    /// `create_on_join = false`), or take their place.
    pub namespaces: BTreeMap<String, Namespace>,
}

/// The built-in accounts.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Whether anybody may create an account. Default true.
    pub open_registration: bool,
    /// Argon2id memory, KiB, 8 to 1,048,576. Default 19,456 (OWASP).
    pub argon2_memory_kib: u32,
    /// Argon2id passes, 1 to 16. Default 2 (OWASP).
    pub argon2_iterations: u32,
}

/// Tokens the gateway issues.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Claim `iss`. Default `countersign`.
    pub issuer: String,
    /// Claim `aud`. Default `countersign`.
    pub audience: String,
    /// Life of an access token, 1 s to 24 h. Default 15 min.
    pub access_ms: u64,
    /// Life of a refresh token, and of a session that is not used, up to 400 days. Default 30 days.
    pub refresh_ms: u64,
    /// A repeated refresh from the same device gets the same pair for this long. Default 10 s.
    pub refresh_grace_ms: u64,
    /// Warning before a connection's session expires. Default 60 s.
    pub expiring_ms: u64,
    /// Ed25519 private key, PKCS#8 PEM. Default: one is generated at start, and tokens end with the process.
    pub key_file: Option<PathBuf>,
}

/// QR logins.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Qr {
    /// Life of a code that nobody scans. Default 300 s.
    pub lifetime_ms: u64,
    /// A new code every so often; the one before stays valid for as long again. Default 45 s.
    pub rotate_ms: u64,
    /// A waiting code that nobody watches ends after this. Default 60 s.
    pub idle_ms: u64,
    /// Time to confirm after the scan. Default 60 s.
    pub scanned_ms: u64,
    /// Time to redeem after the confirmation. Default 30 s.
    pub confirmed_ms: u64,
    /// Who types the digits that the other side shows: `phone_types`, `pc_types`, or nobody, `none`. Default
    /// `phone_types`.
    pub match_mode: MatchMode,
    /// Whether confirming takes the password: `never` or `always`. Default `never`.
    pub step_up: StepUp,
}

/// When a phone that is signed in has to show once more who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepUp {
    Never,
    /// At every confirmation.
    Always,
}

/// Rooms.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Counts and presence of a room are sent at most this often, 1 ms to 60 s. Default 200 ms.
    pub counts_interval_ms: u32,
    /// An empty room is dropped after this. Default 5 min.
    pub idle_ms: u64,
    /// Messages kept per room. Default 300.
    pub history_messages: usize,
    /// Bytes kept per room. Default 256 KiB.
    pub history_bytes: usize,
    /// Age up to which messages are kept. Default 5 min.
    pub history_ms: u64,
    /// A `cid` is remembered this long. Default 5 min.
    pub cid_ms: u64,
    /// `cid`s remembered per room. Default 12,000.
    pub cid_entries: usize,
}

/// What a namespace allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Namespace {
    /// Whether joining creates a room. Default true.
    pub create_on_join: bool,
    /// Whether a connection may join without signing in. Default true.
    pub anonymous: bool,
    /// Counters clients may raise. Default `likes`.
    pub counters: Vec<String>,
}

/// Leaving without losing anybody.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Between `/readyz` turning false and the first `reconnect`. Default 10 s.
    pub grace_ms: u64,
    /// Over how long the connections are told to come back. Default 10 s.
    pub spread_ms: u64,
    /// After this everything is closed. Default 120 s.
    pub hard_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operator_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            operator_key: None,
            operator_hosts: Vec::new(),
            public_origin: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarding_header: ForwardingHeader::Any,
            proxy_protocol: false,
            limits_profile: Profile::Default,
            tls: Tls::default(),
            unix: Unix::default(),
            log_levels: None,
            accounts: Accounts::default(),
            tokens: Tokens::default(),
            qr: Qr::default(),
            rooms: Rooms::default(),
            limits: Limits::default(),
            drain: Drain::default(),
            namespaces: default_namespaces(),
        }
    }
}

/// Rooms of `live` are broadcasts: they begin with a broadcaster, not with the first viewer.
fn default_namespaces() -> BTreeMap<String, Namespace> {
    let live = Namespace {
        create_on_join: false,
        ..Namespace::default()
    };
    [
        ("default", Namespace::default()),
        ("chat", Namespace::default()),
        ("live", live),
    ]
    .map(|(name, namespace)| (name.to_owned(), namespace))
    .into()
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            open_registration: true,
            argon2_memory_kib: 19 * 1024,
            argon2_iterations: 2,
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            issuer: "countersign".into(),
            audience: "countersign".into(),
            access_ms: 15 * 60_000,
            refresh_ms: 30 * 24 * 3_600_000,
            refresh_grace_ms: 10_000,
            expiring_ms: 60_000,
            key_file: None,
        }
    }
}

impl Default for Qr {
    fn default() -> Self {
        Self {
            lifetime_ms: 300_000,
            rotate_ms: 45_000,
            idle_ms: 60_000,
            scanned_ms: 60_000,
            confirmed_ms: 30_000,
            match_mode: MatchMode::PhoneTypes,
            step_up: StepUp::Never,
        }
    }
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            counts_interval_ms: 200,
            idle_ms: 5 * 60_000,
            history_messages: 300,
            history_bytes: 256 * 1024,
            history_ms: 5 * 60_000,
            cid_ms: 5 * 60_000,
            cid_entries: 12_000,
        }
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            create_on_join: true,
            anonymous: true,
            counters: vec!["likes".into()],
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            grace_ms: 10_000,
            spread_ms: 10_000,
            hard_ms: 120_000,
        }
    }
}

impl Config {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// A sentence with file, line and what was expected.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|e| file::problem(text, &e))?;
        // A file that names one namespace has not forbidden the others.
        for (name, namespace) in default_namespaces() {
            config.namespaces.entry(name).or_insert(namespace);
        }
        Ok(config)
    }

    /// Everything that cannot be run with, each as a sentence that says what to set.
    ///
    /// # Errors
    /// All problems at once; never an empty list.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, text: String| {
            if !ok {
                problems.push(text);
            }
        };
        let loopback = self.listen.ip().is_loopback();
        check(
            loopback || self.limits_profile != Profile::Bench,
            format!(
                "limits_profile = \"bench\" switches protection off in all but name: bind listen to 127.0.0.1, not {}",
                self.listen
            ),
        );
        check(
            loopback || self.public_origin.is_some(),
            format!(
                "listen = \"{}\" is reachable by others: set public_origin to the address browsers will use, such as \
                 --public-origin http://192.168.1.20:{} with this machine's own address",
                self.listen,
                self.listen.port()
            ),
        );
        if let Some(problem) = self.operator_key.as_ref().and_then(OperatorKey::problem) {
            check(false, problem);
        }
        for (name, value, low, high) in self.ranges() {
            check(
                (low..=high).contains(&value),
                format!("{name} = {value} is out of bounds: {low} to {high}"),
            );
        }
        check(
            self.qr.lifetime_ms / self.qr.rotate_ms.max(1) <= QR_ROTATIONS_MAX,
            format!(
                "qr.rotate_ms = {} gives a code more than {QR_ROTATIONS_MAX} ids: raise it or lower qr.lifetime_ms",
                self.qr.rotate_ms
            ),
        );
        for (name, namespace) in &self.namespaces {
            check(
                countersign_protocol::RoomName::parse(&format!("{name}:x"))
                    .is_ok_and(|r| r.namespace() == name),
                format!("namespaces.{name}: a namespace is made of A-Z a-z 0-9 _ . @ - and is not . or .."),
            );
            check(
                namespace.counters.len() <= COUNTERS_MAX
                    && namespace.counters.iter().all(|c| {
                        !c.is_empty()
                            && c.len() <= COUNTER_BYTES_MAX
                            && c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    }),
                format!(
                    "namespaces.{name}.counters: at most {COUNTERS_MAX} names of 1 to {COUNTER_BYTES_MAX} letters, digits and _"
                ),
            );
        }
        problems.extend(
            self.public_origin
                .iter()
                .chain(&self.allowed_origins)
                .filter_map(|o| origins::problem(o)),
        );
        problems.extend(
            self.operator_hosts
                .iter()
                .filter_map(|host| operator::host_problem(host)),
        );
        let nobody = self.trusted_proxies.is_empty() && self.unix.path.is_none();
        problems.extend(proxies::problems(
            &self.trusted_proxies,
            self.proxy_protocol && nobody,
        ));
        problems.extend(self.unix.problems());
        problems.extend(self.tls.problems(self.public_origin.as_deref()));
        problems.extend(self.limits.problems());
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Numbers with their bounds: name, value, lowest, highest.
    fn ranges(&self) -> Vec<(&'static str, u64, u64, u64)> {
        const DAY: u64 = 24 * 3_600_000;
        vec![
            (
                "accounts.argon2_memory_kib",
                self.accounts.argon2_memory_kib.into(),
                8,
                1_048_576,
            ),
            (
                "accounts.argon2_iterations",
                self.accounts.argon2_iterations.into(),
                1,
                16,
            ),
            ("tokens.access_ms", self.tokens.access_ms, 1_000, DAY),
            ("tokens.refresh_ms", self.tokens.refresh_ms, 1_000, 400 * DAY),
            ("tokens.refresh_grace_ms", self.tokens.refresh_grace_ms, 0, 60_000),
            ("tokens.expiring_ms", self.tokens.expiring_ms, 0, DAY),
            ("qr.lifetime_ms", self.qr.lifetime_ms, 100, DAY),
            ("qr.rotate_ms", self.qr.rotate_ms, 50, DAY),
            ("qr.idle_ms", self.qr.idle_ms, 50, DAY),
            ("qr.scanned_ms", self.qr.scanned_ms, 50, DAY),
            ("qr.confirmed_ms", self.qr.confirmed_ms, 50, DAY),
            (
                "rooms.counts_interval_ms",
                self.rooms.counts_interval_ms.into(),
                1,
                60_000,
            ),
            ("rooms.idle_ms", self.rooms.idle_ms, 1, DAY),
            (
                "rooms.history_messages",
                self.rooms.history_messages as u64,
                0,
                100_000,
            ),
            (
                "rooms.history_bytes",
                self.rooms.history_bytes as u64,
                0,
                64 << 20,
            ),
            ("rooms.history_ms", self.rooms.history_ms, 0, 30 * DAY),
            ("rooms.cid_ms", self.rooms.cid_ms, 1, DAY),
            ("rooms.cid_entries", self.rooms.cid_entries as u64, 1, 1_000_000),
            ("drain.grace_ms", self.drain.grace_ms, 0, DAY),
            ("drain.spread_ms", self.drain.spread_ms, 0, DAY),
            ("drain.hard_ms", self.drain.hard_ms, 1, DAY),
        ]
    }
}

/// Most rotations of one code: each id is kept so that the PC can name any of them.
pub const QR_ROTATIONS_MAX: u64 = crate::core::attempt::IDS_MAX as u64;
/// Most counters of a namespace.
pub const COUNTERS_MAX: usize = 16;
/// Longest name of a counter, bytes.
pub const COUNTER_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests;
