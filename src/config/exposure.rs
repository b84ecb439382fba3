//! What is for trying only, and is not to be reached by other machines unless somebody says so.

use super::check::Found;
use super::value::words;
use super::{Config, Profile};

/// Something that is for trying only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposed {
    GeneratedKey,
    OpenRegistration,
    DemoPages,
    BenchLimits,
}

words!(Exposed {
    "generated_key" => Exposed::GeneratedKey,
    "open_registration" => Exposed::OpenRegistration,
    "demo_pages" => Exposed::DemoPages,
    "bench_limits" => Exposed::BenchLimits,
});

impl Exposed {
    /// What `--trial-on-lan` allows.
    pub const TRIAL: [Self; 3] = [Self::GeneratedKey, Self::OpenRegistration, Self::DemoPages];

    /// Whether a configuration has it; then what that means, and the setting that ends it.
    fn of(self, config: &Config) -> Option<(&'static str, &'static str)> {
        match self {
            Self::GeneratedKey => config.tokens.key_file.is_none().then_some((
                "tokens are signed with a key that ends with the process",
                "tokens.key_file to a key of your own (`openssl genpkey -algorithm ed25519 -out signing-key.pem`)",
            )),
            Self::OpenRegistration => config
                .accounts
                .open_registration
                .then_some(("anybody may create an account", "accounts.open_registration = false")),
            Self::DemoPages => config
                .demo
                .then_some(("the demo page is served", "demo = false")),
            Self::BenchLimits => (config.limits_profile == Profile::Bench).then_some((
                "the limits of the profile bench protect nobody",
                "limits_profile = \"default\"",
            )),
        }
    }

    fn name(self) -> &'static str {
        super::value::Word::name(self)
    }
}

/// What others would reach that is for trying only, and that nobody said may be reached.
pub(super) fn problems(config: &Config) -> Vec<Found> {
    if !config.is_reachable() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (_, exposed) in <Exposed as super::value::Word>::WORDS {
        if config.exposed.contains(exposed) {
            continue;
        }
        if let Some((what, set)) = exposed.of(config) {
            let text = format!(
                "listen = \"{}\" is reachable by others, and {what}: set {set}, bind listen to 127.0.0.1, or say that \
                 it may be so with exposed = [\"{}\"]",
                config.listen,
                exposed.name()
            );
            let paths = ["listen", "exposed", exposed.path()];
            found.push(Found::new(&paths, text));
        }
    }
    found
}

impl Exposed {
    /// The setting that it depends on.
    fn path(self) -> &'static str {
        match self {
            Self::GeneratedKey => "tokens.key_file",
            Self::OpenRegistration => "accounts.open_registration",
            Self::DemoPages => "demo",
            Self::BenchLimits => "limits_profile",
        }
    }
}
