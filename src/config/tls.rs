//! TLS on the public port: which files, and what is wrong with how they are named.

use std::path::{Path, PathBuf};

use super::check::Found;
use super::settings::{settings, tables};

settings! {
    /// TLS on the public port. Both files or neither; they are read at the start and at every reload.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Tls {
        certificate_file: Option<PathBuf> = None, "", Form("PEM, at most 1 MiB"),
            "certificate chain of the public port, the gateway's own first. Without it the port speaks plain HTTP"
            like "\"/etc/countersign/fullchain.pem\"";
        key_file: Option<PathBuf> = None, "", Form("PEM (PKCS#8, PKCS#1, SEC1), not encrypted, at most 1 MiB"),
            "the private key of that certificate"
            like "\"/etc/countersign/privkey.pem\"";
    }
}

tables!(Tls);

impl Tls {
    /// Certificate and key, when TLS is on.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.certificate_file.as_deref()?, self.key_file.as_deref()?))
    }

    /// The scheme of what the public port speaks: `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.files().is_some() { "https" } else { "http" }
    }

    /// What is wrong with it: the settings it depends on, and a sentence that says what to set.
    pub(super) fn problems(&self, public_origin: Option<&str>) -> Vec<Found> {
        let mut problems = Vec::new();
        let files = ["tls.certificate_file", "tls.key_file"];
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => problems.push(Found::new(
                &files,
                "tls.certificate_file is set and tls.key_file is not: name the certificate's private key too"
                    .into(),
            )),
            (None, Some(_)) => problems.push(Found::new(
                &files,
                "tls.key_file is set and tls.certificate_file is not: name the certificate chain too".into(),
            )),
            _ => {}
        }
        if let Some(origin) = public_origin.filter(|o| self.files().is_some() && o.starts_with("http://")) {
            let text = format!(
                "public_origin = {origin:?} while tls is on: browsers reach this port by https, write {:?}",
                origin.replacen("http://", "https://", 1)
            );
            problems.push(Found::new(&["public_origin", "tls.certificate_file"], text));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn both_files_or_neither() {
        let problems = |text: &str| {
            let config = Config::from_toml(text).unwrap();
            config.validate().err().unwrap_or_default().join("\n")
        };
        let (certificate, key) = ("certificate_file = \"c.pem\"", "key_file = \"k.pem\"");
        assert!(problems(&format!("[tls]\n{certificate}")).contains("tls.key_file is not"));
        assert!(problems(&format!("[tls]\n{key}")).contains("tls.certificate_file is not"));
        assert_eq!(problems(&format!("[tls]\n{certificate}\n{key}")), "");
        assert_eq!(problems("[tls]"), "");
        let http = format!("public_origin = \"http://a.example\"\n[tls]\n{certificate}\n{key}");
        assert!(problems(&http).contains("write \"https://a.example\""));
        assert_eq!(problems(&http.replace("http:", "https:")), "");
    }
}
