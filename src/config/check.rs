//! What of a configuration cannot be run with, and what should be thought about.

use super::reader::bounds_told;
use super::settings::Bound;
use super::{
    Config, Exposed, OperatorKey, QR_ROTATIONS_MAX, clients, exposure, fields, namespaces, operator, origins,
    proxies, users,
};
use crate::greeting::leaves_this_machine;
use crate::ops::logging;

/// Something found: the settings it depends on, the first of which is the one to change, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) paths: Vec<String>,
    pub(super) text: String,
}

impl Found {
    pub(super) fn new(paths: &[&str], text: String) -> Self {
        Self {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            text,
        }
    }

    /// Whether it is something for trying that others would reach.
    pub(super) fn is_exposure(&self) -> bool {
        self.paths.iter().any(|path| path == "exposed")
    }

    fn of((path, text): (String, String)) -> Self {
        Self {
            paths: vec![path],
            text,
        }
    }
}

impl Config {
    /// Everything that it cannot be run with.
    pub(super) fn check(&self) -> Vec<Found> {
        let mut found = self.out_of_bounds();
        found.extend(self.unreachable());
        found.extend(exposure::problems(self));
        if let Some(problem) = self.operator_key.as_ref().and_then(OperatorKey::problem) {
            found.push(Found::new(&["operator_key"], problem));
        }
        if self.qr.lifetime_ms / self.qr.rotate_ms.max(1) > QR_ROTATIONS_MAX {
            let text = format!(
                "qr.rotate_ms = {} gives a code more than {QR_ROTATIONS_MAX} ids: raise it or lower qr.lifetime_ms",
                self.qr.rotate_ms
            );
            found.push(Found::new(&["qr.rotate_ms", "qr.lifetime_ms"], text));
        }
        let issuer = self.issuer_problem();
        found.extend(issuer.map(|text| Found::new(&["tokens.issuer"], text)));
        found.extend(namespaces::problems(&self.namespaces).into_iter().map(Found::of));
        let registered = clients::problems(&self.clients, &self.tokens.audience);
        found.extend(registered.into_iter().map(Found::of));
        let seeded = users::problems(&self.accounts.users, self.limits.accounts_max);
        found.extend(seeded.into_iter().map(Found::of));
        let each = |path: &str, problems: Vec<String>| {
            let found = problems.into_iter().map(|text| Found::new(&[path], text));
            found.collect::<Vec<_>>()
        };
        let public = self.public_origin.iter().filter_map(|o| origins::problem(o));
        found.extend(each("public_origin", public.collect()));
        let allowed = self.allowed_origins.iter().filter_map(|o| origins::problem(o));
        found.extend(each("allowed_origins", allowed.collect()));
        let hosts = self
            .operator_hosts
            .iter()
            .filter_map(|h| operator::host_problem(h));
        found.extend(each("operator_hosts", hosts.collect()));
        let nobody = self.trusted_proxies.is_empty() && self.unix.path.is_none();
        let proxies = proxies::problems(&self.trusted_proxies, self.proxy_protocol && nobody);
        found.extend(each("trusted_proxies", proxies));
        let levels = self
            .log_levels
            .iter()
            .filter_map(|levels| logging::check_levels(levels).err());
        found.extend(each("log_levels", levels.collect()));
        found.extend(each("unix", self.unix.problems()));
        found.extend(self.tls.problems(self.public_origin.as_deref()));
        found
    }

    /// Numbers out of their bounds.
    fn out_of_bounds(&self) -> Vec<Found> {
        let mut found = Vec::new();
        fields::walk(self, "", &mut |path, row, value| {
            if let (Bound::Within(low, high), Some(number)) = (row.bound, value.number())
                && !(low..=high).contains(&number)
            {
                let told = bounds_told(&number.to_string(), row, low, high);
                found.push(Found::new(&[path], format!("{path} {told}")));
            }
            if let Some(problem) = value.unsound() {
                found.push(Found::new(&[path], format!("{path} {problem}")));
            }
        });
        found
    }

    /// Others can reach it, and nobody said by which name.
    fn unreachable(&self) -> Option<Found> {
        (self.is_reachable() && self.public_origin.is_none()).then(|| {
            let text = format!(
                "listen = \"{}\" is reachable by others: set public_origin to the address browsers will use, such as \
                 --public-origin http://192.168.1.20:{} with this machine's own address",
                self.listen,
                self.listen.port()
            );
            Found::new(&["listen", "public_origin"], text)
        })
    }

    /// What can be run with, and may not be meant.
    pub(super) fn doubts(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut doubt = |path: &str, text: String| found.push(Found::new(&[path], text));
        if self.is_reachable()
            && self
                .public_origin
                .as_ref()
                .is_some_and(|o| o.starts_with("http://"))
        {
            doubt(
                "public_origin",
                "public_origin is http: passwords and tokens cross the network in the clear".into(),
            );
        }
        let named = self.public_origin.as_deref().is_some_and(leaves_this_machine);
        // On loopback behind a proxy nothing is refused, and everything is reached all the same.
        if named
            && !self.is_reachable()
            && self.tokens.key_file.is_none()
            && !self.exposed.contains(&Exposed::GeneratedKey)
        {
            doubt(
                "public_origin",
                "public_origin is a name for others, and tokens are signed with a key that ends with the process: set \
                 tokens.key_file"
                    .into(),
            );
        }
        if !self.operator_listen.ip().is_loopback() {
            doubt(
                "operator_listen",
                format!(
                    "operator_listen = \"{}\" is reachable by others: whoever reaches it reads /metrics; keep the public \
                     from it",
                    self.operator_listen
                ),
            );
        }
        if let Some(text) = self.issuer_doubt() {
            doubt("tokens.issuer", text);
        }
        for (path, text) in clients::doubts(&self.clients) {
            doubt(&path, text);
        }
        let (memory, passes) = (self.accounts.argon2_memory_kib, self.accounts.argon2_iterations);
        for (at, id) in users::of_another_cost(&self.accounts.users, memory, passes) {
            doubt(
                &format!("accounts.users[{at}].password_hash"),
                format!(
                    "the hash of {id:?} costs something else than m={memory}, t={passes}, p=1: the time of a sign-in tells \
                     anybody that this account exists; `countersign hash-password` makes one of the configured cost"
                ),
            );
        }
        found
    }
}
