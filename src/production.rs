//! What of a configuration is for trying it out, and what it lacks for others to rely on: told at the start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::Config;

/// Both lists, each entry a sentence that names what to set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Good for a demonstration.
    pub demo: Vec<String>,
    /// Missing for production.
    pub missing: Vec<String>,
}

/// Looks a configuration over. `origin` is where browsers find the gateway, `sockets` what the process has
/// descriptors for.
pub fn notes(config: &Config, origin: &str, sockets: usize) -> Notes {
    let mut notes = Notes::default();
    let mut demo = |text: &str| notes.demo.push(text.to_owned());
    if config.accounts.open_registration {
        demo("anybody who reaches it may create an account: accounts.open_registration = false ends that");
    }
    if config.tokens.key_file.is_none() {
        demo(
            "the signing key was made at this start, and tokens end with the process: tokens.key_file names one that stays",
        );
    }
    if config.demo {
        demo(
            "the page at / is a demonstration: docs/qr-login.md says how to put the login into your own, and demo = false \
             ends it",
        );
    }
    demo("accounts, sessions, rooms and QR logins are in memory: all are gone after a restart");

    let mut missing = |text: String| notes.missing.push(text);
    if origin.starts_with("http://") {
        missing(
            "browsers come over plain http: give it a certificate ([tls] in docs/tls.md), or put TLS in front and set public_origin to the https:// address"
                .to_owned(),
        );
    }
    if config.operator_key.is_none() {
        missing("no operator_key, so no account can be locked: set COUNTERSIGN_OPERATOR_KEY (`openssl rand -hex 32` makes one)".to_owned());
    }
    if let Some(path) = config.tokens.key_file.as_deref().filter(|path| others_read(path)) {
        let path = path.display();
        missing(format!(
            "every user of this machine can read the signing key: `chmod o-rwx {path}`"
        ));
    }
    let wanted = config.limits.connections_max;
    if sockets < wanted {
        let files = wanted.saturating_add(config.limits.descriptors_reserved);
        missing(format!(
            "open files are limited so that {sockets} sockets fit, and not limits.connections_max = {wanted}: \
             `ulimit -n {files}`, or LimitNOFILE={files} in its systemd unit"
        ));
    }
    notes
}

fn others_read(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o007 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_without_any_configuration_is_a_demonstration() {
        let told = notes(&Config::default(), "http://127.0.0.1:8080", 960);
        assert_eq!((told.demo.len(), told.missing.len()), (4, 3), "{told:#?}");
        for (list, names) in [
            (
                &told.demo,
                ["open_registration", "key_file", "docs/qr-login.md", "in memory"].as_slice(),
            ),
            (
                &told.missing,
                &["public_origin", "COUNTERSIGN_OPERATOR_KEY", "ulimit -n 65600"],
            ),
        ] {
            for (line, name) in list.iter().zip(names) {
                assert!(line.contains(name), "{line}");
            }
        }
    }

    #[test]
    fn what_has_been_set_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, "").unwrap();
        let mode = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut config = Config::default();
        config.accounts.open_registration = false;
        config.tokens.key_file = Some(key.clone());
        config.operator_key = Some(crate::config::OperatorKey::new("x".repeat(24)));
        mode(0o640);
        let told = notes(&config, "https://login.example", usize::MAX);
        assert_eq!((told.demo.len(), told.missing.len()), (2, 0), "{told:#?}");
        mode(0o644);
        let told = notes(&config, "https://login.example", usize::MAX);
        assert!(told.missing[0].contains("chmod o-rwx"), "{told:#?}");
    }
}
