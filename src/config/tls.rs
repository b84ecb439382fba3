//! TLS on the public port: which files, and what is wrong with how they are named.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// TLS on the public port. Both files or neither; they are read at the start and at every reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain in PEM, the gateway's own certificate first, at most 1 MiB. Default none: the port speaks
    /// plain HTTP.
    pub certificate_file: Option<PathBuf>,
    /// The private key of the first certificate in PEM (PKCS#8, PKCS#1 or SEC1), not encrypted, at most 1 MiB.
    /// Default none.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    /// Certificate and key, when TLS is on.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.certificate_file.as_deref()?, self.key_file.as_deref()?))
    }

    /// The scheme of what the public port speaks: `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.files().is_some() { "https" } else { "http" }
    }

    /// What is wrong with it, as sentences that say what to set.
    pub(super) fn problems(&self, public_origin: Option<&str>) -> Vec<String> {
        let mut problems = Vec::new();
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => problems.push(
                "tls.certificate_file is set and tls.key_file is not: name the certificate's private key too"
                    .into(),
            ),
            (None, Some(_)) => problems.push(
                "tls.key_file is set and tls.certificate_file is not: name the certificate chain too".into(),
            ),
            _ => {}
        }
        if let Some(origin) = public_origin.filter(|o| self.files().is_some() && o.starts_with("http://")) {
            problems.push(format!(
                "public_origin = {origin:?} while tls is on: browsers reach this port by https, write {:?}",
                origin.replacen("http://", "https://", 1)
            ));
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
