//! Configuration: one tree, of which each field is one row: name, default, unit, bound, meaning. From these rows comes
//! everything that is said about it: what files, the environment and flags may say ([`Sources`]), the reference, the
//! example file and the documentation. Durations are milliseconds and end in `_ms`.

mod check;
mod clients;
mod exposure;
pub mod fields;
mod issuer;
pub mod limits;
mod load;
mod namespaces;
pub mod operator;
mod origins;
mod problem;
pub mod proxies;
mod reader;
pub mod reference;
mod sections;
mod settings;
mod suggest;
pub mod tls;
pub mod unix;
mod users;
mod value;

use std::net::SocketAddr;

use settings::settings;

pub use clients::{CLIENT_ID_BYTES_MAX, Client, ClientSecret, Clients, DEMO_CLIENT, is_scope};
pub use exposure::Exposed;
pub use limits::{Limits, Profile};
pub use load::{Loaded, Sources, Trial};
pub use namespaces::{COUNTER_BYTES_MAX, COUNTERS_MAX, NAMESPACES_MAX, Namespace, Namespaces};
pub use operator::OperatorKey;
pub use origins::is_origin;
pub use problem::{Place, Problem};
pub use proxies::ForwardingHeader;
pub use sections::{Accounts, Drain, OAuth, Qr, Rooms, StepUp, Tokens};
pub use settings::{Bound, Mark, Row};
pub use tls::Tls;
pub use unix::Unix;
pub use users::{SEEDED_USERS_MAX, SeededUser};
pub use value::Kind;

/// Most rotations of one code: each id is kept so that the PC can name any of them.
pub const QR_ROTATIONS_MAX: u64 = crate::core::attempt::IDS_MAX as u64;

settings! {
    /// Everything that can be set.
    #[derive(Debug, Clone)]
    pub struct Config {
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)), "", Form("an address and a port; port 0 lets the system pick"),
            "public port: WebSocket, HTTP, pages" [Listed];
        operator_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9090)), "", Form("an address and a port; port 0 lets the system pick"),
            "operator's port: `/healthz`, `/readyz`, `/metrics`, locking accounts; keep it from the public" [Listed];
        public_origin: Option<String> = None, "", Form("`scheme://host[:port]`, lower case, without the port that the scheme has anyhow"),
            "what browsers see; in codes, DPoP proofs and the origin check. Without it, the listening address. Needed when others can reach `listen`" [Listed]
            like "\"https://login.example\"";
        exposed: Vec<Exposed> = Vec::new(), "", Free,
            "what is for trying only and may be reached by other machines all the same; without it a start on anything but loopback is refused. `--trial-on-lan` names the first three" [Listed]
            like "[\"demo_pages\"]";
        demo: bool = true, "", Free,
            "whether the demo page is served at `/`; the page a phone opens, the JavaScript client and the API are in any case" [Listed];
        operator_key: Option<OperatorKey> = None, "", Form("24 to 256 visible ASCII characters"),
            "what an operator shows on the operator's port to change something there; `openssl rand -hex 32` makes one. The environment is the better place for it" [Secret]
            like "\"a-key-of-your-own-made-by-openssl\"";
        operator_hosts: Vec<String> = Vec::new(), "", Form("`name[:port]` as in a `Host` header, lower case"),
            "names by which the operator's port may be called to change something, beside loopback ones"
            like "[\"ops.example:9090\"]";
        allowed_origins: Vec<String> = Vec::new(), "", Form("as `public_origin`"),
            "further origins whose pages may connect, compared exactly"
            like "[\"https://shop.example\"]";
        trusted_proxies: Vec<String> = Vec::new(), "", Form("at most 256 addresses and networks, none of them `/0`, IPv4 ones not written as IPv6 ones"),
            "proxies that are believed about where a request comes from" [Listed]
            like "[\"10.1.0.0/16\", \"192.0.2.7\"]";
        forwarding_header: ForwardingHeader = ForwardingHeader::Any, "", Free,
            "the header in which they say so" [Listed];
        proxy_protocol: bool = false, "", Free,
            "whether those proxies write a PROXY header (version 1 or 2) in front of each connection";
        log_levels: Option<String> = None, "", Form("as `COUNTERSIGN_LOG`, which wins over it"),
            "levels of the log, for all and by module; without it `info`"
            like "\"info,countersign::node=debug\"";
        limits_profile: Profile = Profile::Default, "", Free,
            "`bench` multiplies every rate, and every count per address and user, by a thousand: for measurements" [Listed];
        tls: Tls = Tls::default(), "", Free,
            "TLS on the public port";
        unix: Unix = Unix::default(), "", Free,
            "A Unix-domain socket beside the public port";
        accounts: Accounts = Accounts::default(), "", Free,
            "The built-in accounts";
        tokens: Tokens = Tokens::default(), "", Free,
            "Tokens the gateway issues";
        qr: Qr = Qr::default(), "", Free,
            "QR logins";
        oauth: OAuth = OAuth::default(), "", Free,
            "QR logins that apps open by OAuth, as device authorizations";
        rooms: Rooms = Rooms::default(), "", Free,
            "Rooms";
        drain: Drain = Drain::default(), "", Free,
            "Leaving without losing anybody";
        namespaces: Namespaces = namespaces::built_in(), "", Form("at most 1,000 names of `A-Z a-z 0-9 _ . @ -`, not `.` or `..`"),
            "which rooms there may be: the part of a room's name before the colon. `default`, `chat` and `live` are always there";
        clients: Clients = Clients::new(), "", Form("at most 1,000 ids of 1 to 64 of `A-Z a-z 0-9 _ . -`"),
            "apps that may open QR logins in their own name. While the demo page is served there is `demo`, a public one";
        limits: Limits = Limits::default(), "", Free,
            "Limits";
    }
}

impl Config {
    /// Reads the text of a TOML file.
    ///
    /// # Errors
    /// Everything that is wrong in it, a line each, with the line's number.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let sources = Sources {
            file: Some(("the configuration".into(), text.to_owned())),
            ..Sources::default()
        };
        let (config, problems) = sources.read();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problem::lines(&problems))
        }
    }

    /// Everything that cannot be run with, each as a sentence that says what to set.
    ///
    /// # Errors
    /// All problems at once; never an empty list.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let found = self.check();
        if found.is_empty() {
            Ok(())
        } else {
            Err(found.into_iter().map(|found| found.text).collect())
        }
    }

    /// Whether other machines can reach the public port.
    pub fn is_reachable(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

#[cfg(test)]
mod tests;
