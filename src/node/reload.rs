//! Taking over another configuration while everybody stays connected: all of it that can change, or, where anything is
//! wrong with it, nothing.

use std::sync::Arc;

use super::{Node, certificate_of};
use crate::auth::certificate::Certificate;
use crate::auth::key::SigningKey;
use crate::config::Config;

/// What comes of a setting that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// In force for everybody.
    Now,
    /// In force for what begins from now on: connections, tokens, QR logins. What there is keeps what it began with.
    New,
    /// The former value stays in force until the process is started again.
    Restart,
}

/// A setting that differs from what is in force, or a file that was read again and has other content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path, such as `limits.head_ms`.
    pub name: &'static str,
    pub from: String,
    pub to: String,
    pub effect: Effect,
}

macro_rules! settings {
    ($($effect:ident $($path:ident).+;)*) => {
        /// Every setting by its path, and what a reload makes of it. The files of `tls` have rules of their own.
        pub const SETTINGS: &[(&str, Effect)] = &[ $( (path!($($path).+), Effect::$effect), )* ];

        /// What differs. Where that needs a restart, `new` gets the former value back, so that it says what is in
        /// force.
        fn settle(old: &Config, new: &mut Config) -> Vec<Change> {
            let mut changes = Vec::new();
            $( if old.$($path).+ != new.$($path).+ {
                changes.push(Change {
                    name: path!($($path).+),
                    from: shown(&old.$($path).+),
                    to: shown(&new.$($path).+),
                    effect: Effect::$effect,
                });
                if Effect::$effect == Effect::Restart {
                    new.$($path).+.clone_from(&old.$($path).+);
                }
            } )*
            changes
        }
    };
}

macro_rules! path {
    ($field:ident) => {
        stringify!($field)
    };
    ($table:ident.$field:ident) => {
        concat!(stringify!($table), ".", stringify!($field))
    };
}

/// Settings as a log shows them; secrets show nothing of themselves.
fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}

settings! {
    Restart listen;
    Restart operator_listen;
    Now operator_key;
    Now operator_hosts;
    Restart public_origin;
    Now exposed;
    Restart demo;
    Now allowed_origins;
    Now trusted_proxies;
    Now forwarding_header;
    New proxy_protocol;
    Restart unix.path;
    Restart unix.mode;
    Restart limits_profile;
    Now log_levels;
    Now accounts.open_registration;
    Restart accounts.users;
    Restart accounts.argon2_memory_kib;
    Restart accounts.argon2_iterations;
    Restart tokens.issuer;
    Restart tokens.audience;
    New tokens.access_ms;
    New tokens.refresh_ms;
    Now tokens.refresh_grace_ms;
    Now tokens.expiring_ms;
    Now tokens.key_file;
    Restart qr.lifetime_ms;
    Restart qr.rotate_ms;
    Restart qr.idle_ms;
    Restart qr.scanned_ms;
    Restart qr.confirmed_ms;
    New qr.match_mode;
    Now qr.step_up;
    Restart oauth.lifetime_ms;
    Restart oauth.interval_ms;
    Restart oauth.confirmed_ms;
    Restart rooms.counts_interval_ms;
    Restart rooms.idle_ms;
    Restart rooms.history_messages;
    Restart rooms.history_bytes;
    Restart rooms.history_ms;
    Restart rooms.cid_ms;
    Restart rooms.cid_entries;
    Now drain.grace_ms;
    Now drain.spread_ms;
    Now drain.hard_ms;
    Now namespaces;
    Now clients;
    New limits.tls_handshake_ms;
    New limits.proxy_header_ms;
    New limits.head_ms;
    Restart limits.head_bytes_max;
    Restart limits.headers_max;
    New limits.handshake_header_bytes_max;
    Now limits.request_ms;
    New limits.outcome_wait_ms;
    New limits.keep_alive_ms;
    New limits.unauthenticated_ms;
    New limits.outbox_bytes_max;
    New limits.write_ms;
    New limits.ping_interval_ms;
    New limits.pong_ms;
    Now limits.fragments_max;
    Now limits.fragments_ms;
    Now limits.control_rate;
    Now limits.command_rate;
    Now limits.command_refusals_max;
    Now limits.commands_waiting_max;
    Now limits.bad_tokens_max;
    Now limits.message_rate;
    Now limits.message_rate_per_user;
    Now limits.like_rate;
    Now limits.like_max;
    Now limits.join_rate;
    Now limits.subscriptions_max;
    Restart limits.room_rate;
    Restart limits.room_reserved_percent;
    New limits.connections_per_address_max;
    New limits.connections_per_user_max;
    New limits.connections_max;
    Restart limits.descriptors_reserved;
    New limits.accept_rate;
    New limits.accept_rate_per_address;
    Restart limits.send_buffer_bytes;
    Restart limits.rooms_max;
    Restart limits.history_bytes_max;
    Now limits.qr_open_rate;
    Restart limits.qr_waiting_per_address_max;
    Restart limits.qr_attempts_max;
    Now limits.qr_phone_rate;
    Now limits.qr_poll_rate;
    Now limits.qr_picture_rate;
    New limits.event_comment_ms;
    Restart limits.qr_tries_max;
    Now limits.user_code_account_rate;
    Now limits.user_code_address_rate;
    Now limits.login_account_rate;
    Now limits.login_address_rate;
    Restart limits.limiter_keys_max;
    Restart limits.password_queue_max;
    Restart limits.accounts_max;
    Restart limits.sessions_per_user_max;
    Restart limits.once_keys_max;
}

/// A configuration whose files have been read and found good.
struct Ready {
    config: Config,
    certificate: Option<Certificate>,
    key: Option<SigningKey>,
    changes: Vec<Change>,
}

impl Node {
    /// Puts a configuration in force, with the files it names read again, as far as that is possible while running.
    /// Connections stay, whatever changes.
    ///
    /// # Errors
    /// Everything that is wrong with it, one sentence each; then nothing has changed. Never an empty list.
    pub fn reload(&self, config: Config) -> Result<Vec<Change>, Vec<String>> {
        // One after the other: each compares with what the one before has put in force.
        let _turn = self.reloading.lock();
        let Ready {
            config,
            certificate,
            key,
            mut changes,
        } = self.read_for_reload(config)?;
        let old = self.limits.load_full();
        let new = config.limits.clone().under(config.limits_profile);
        self.door.renew(&new);
        self.limiters.renew(&old, &new);
        self.proxies.renew(&config);
        self.origins.renew(&config.page_origins());
        let former = self.sessions.keys().current_id().to_owned();
        if self.sessions.renew(key, config.tokens.clone(), self.clock.now()) {
            let id = self.sessions.keys().current_id().to_owned();
            changes.push(of_file("the signing key", former, id));
        }
        if let Some((shown, next)) = self.certificate.as_ref().zip(certificate) {
            let (from, to) = (
                shown.load().fingerprint().to_owned(),
                next.fingerprint().to_owned(),
            );
            if from != to {
                changes.push(of_file("the certificate", from, to));
            }
            shown.store(Arc::new(next));
        }
        self.limits.store(Arc::new(new));
        self.config.store(Arc::new(config));
        Ok(changes)
    }

    /// Everything that can fail.
    fn read_for_reload(&self, mut config: Config) -> Result<Ready, Vec<String>> {
        let mut problems = config.validate().err().unwrap_or_default();
        // Files that only a restart would use are read too: better to hear of a bad one now.
        let certificate = certificate_of(&config).map_err(|e| problems.push(e.to_string()));
        let key = config.tokens.key_file.as_deref().map(SigningKey::from_file);
        let key = key.transpose().map_err(|e| problems.push(e.to_string()));
        let (Ok(certificate), Ok(key), true) = (certificate, key, problems.is_empty()) else {
            return Err(problems);
        };
        let old = self.config.load_full();
        let mut changes = Vec::new();
        settle_files(&old, &mut config, &mut changes);
        changes.extend(settle(&old, &mut config));
        // What takes a restart has its former value back: what is in force then may be what nobody would start with.
        config.validate().map_err(|problems| {
            let told = |problem| format!("with what takes a restart: {problem}");
            problems.into_iter().map(told).collect::<Vec<_>>()
        })?;
        Ok(Ready {
            config,
            certificate,
            key,
            changes,
        })
    }
}

fn of_file(name: &'static str, from: String, to: String) -> Change {
    Change {
        name,
        from,
        to,
        effect: Effect::New,
    }
}

/// Other files may take the place of those that are shown; a port that speaks without TLS goes on so, and the other way
/// round. A signing key may be replaced by that of another file, not by one that nobody has.
fn settle_files(old: &Config, new: &mut Config, changes: &mut Vec<Change>) {
    let mut differ = |name, from, to, effect| {
        changes.push(Change {
            name,
            from,
            to,
            effect,
        })
    };
    if old.tls != new.tls {
        let stays = old.tls.files().is_some() == new.tls.files().is_some();
        let effect = if stays { Effect::New } else { Effect::Restart };
        differ("tls", shown(&old.tls), shown(&new.tls), effect);
        if !stays {
            new.tls = old.tls.clone();
        }
    }
    if let (Some(former), None) = (&old.tokens.key_file, &new.tokens.key_file) {
        differ(
            "tokens.key_file",
            shown(former),
            "None".to_owned(),
            Effect::Restart,
        );
        new.tokens.key_file = Some(former.clone());
    }
}

#[cfg(test)]
mod tests;
