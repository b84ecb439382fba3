//! What a person at a terminal is told at the start: what listens where, what is provisional about it, which page to
//! open, and how a phone gets to it.

use std::net::IpAddr;
use std::path::Path;

use crate::app::Addresses;
use crate::code::Code;
use crate::config::Profile;
use crate::production::Notes;
use crate::version;

/// Whether the code of the page is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TerminalCode {
    /// When somebody looks: standard output is a terminal, and no dumb one.
    #[default]
    Auto,
    /// Also into a pipe or a file.
    Always,
    Never,
}

impl std::str::FromStr for TerminalCode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(format!("no way to print a code {other:?}: auto, always or never")),
        }
    }
}

/// What there is to tell.
pub struct Greeting<'a> {
    pub addresses: Addresses,
    /// What the public port speaks: `http` or `https`.
    pub scheme: &'static str,
    /// Where browsers find us, such as `http://192.168.1.20:8080`.
    pub origin: &'a str,
    pub profile: Profile,
    /// Whether there is a page to open.
    pub demo: bool,
    /// Whether to show the page's code.
    pub code: bool,
    /// What is provisional about this start.
    pub notes: Notes,
    /// A Unix-domain socket that is served too.
    pub socket: Option<&'a Path>,
    /// This machine's address in its network, if it has one.
    pub machine: Option<IpAddr>,
}

impl Greeting<'_> {
    /// The lines, the last with its end.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("countersign {}", version::SHORT),
            format!("listening on {}://{}", self.scheme, self.addresses.public),
            format!("operator on http://{}", self.addresses.operator),
        ];
        if let Some(socket) = self.socket {
            lines.insert(2, format!("listening on unix:{}", socket.display()));
        }
        if self.profile == Profile::Bench {
            lines.push("limits profile bench: for measurements on this machine only".to_owned());
        }
        let told = |what: &'static str, all: &[String]| -> Vec<String> {
            all.iter().map(|text| format!("{what}: {text}")).collect()
        };
        lines.extend(told("demo", &self.notes.demo));
        lines.extend(told("for production", &self.notes.missing));
        if self.demo {
            self.tell_page(&mut lines);
        }
        lines.join("\n") + "\n"
    }

    /// Where the page is, and what a phone needs to open it.
    fn tell_page(&self, lines: &mut Vec<String>) {
        let page = format!("{}/", self.origin);
        lines.push(format!("open {page} in a browser"));
        if !leaves_this_machine(self.origin) {
            lines.push(format!(
                "a phone cannot open this address; for one: {}",
                self.command_for_a_phone()
            ));
        } else if self.code {
            // A name so long that its code is wider than a terminal is told in words only.
            let code = Code::of(&page).ok().and_then(|code| code.terminal());
            lines.extend(code.map(|code| code.trim_end().to_owned()));
        }
    }

    fn command_for_a_phone(&self) -> String {
        let port = self.addresses.public.port();
        let mut command = "countersign serve --trial-on-lan".to_owned();
        if port != PORT {
            command.push_str(&format!(" --listen 0.0.0.0:{port}"));
        }
        if self.machine.is_none() {
            command.push_str(&format!(
                " --public-origin http://<this machine's address>:{port}"
            ));
        }
        command
    }
}

/// Where it listens unless it is told.
const PORT: u16 = 8080;

/// Whether an origin is more than a name of this machine for itself: then another device may reach it.
pub fn leaves_this_machine(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or_default(),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            !address.is_loopback() && !address.is_unspecified()
        }
        Err(_) => name != "localhost" && !name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn greeting(origin: &str, code: bool, machine: Option<&str>) -> String {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Greeting {
            addresses: Addresses {
                public: at(8080),
                operator: at(9090),
            },
            scheme: "http",
            origin,
            profile: Profile::Default,
            demo: true,
            code,
            notes: Notes {
                demo: vec!["open to all".to_owned()],
                missing: vec!["TLS".to_owned()],
            },
            socket: None,
            machine: machine.map(|ip| ip.parse().unwrap()),
        }
        .text()
    }

    #[test]
    fn each_listener_is_named() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let told = Greeting {
            addresses: Addresses {
                public: at(8443),
                operator: at(9090),
            },
            scheme: "https",
            origin: "https://login.example",
            profile: Profile::Default,
            demo: false,
            code: false,
            notes: Notes::default(),
            socket: Some(Path::new("/run/countersign/public.sock")),
            machine: None,
        }
        .text();
        let after_the_version: Vec<&str> = told.lines().skip(1).collect();
        let expected = [
            "listening on https://127.0.0.1:8443",
            "listening on unix:/run/countersign/public.sock",
            "operator on http://127.0.0.1:9090",
        ];
        assert_eq!(after_the_version, expected);
    }

    #[test]
    fn names_of_this_machine_stay_on_it() {
        for own in [
            "http://127.0.0.1:8080",
            "http://127.8.9.1",
            "https://localhost",
            "http://localhost:1",
            "http://shop.localhost:1",
            "http://[::1]:8080",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0:8080",
            "http://[::]:8080",
        ] {
            assert!(!leaves_this_machine(own), "{own}");
        }
        for other in [
            "http://192.168.1.20:8080",
            "https://login.example",
            "http://[fd00::1]:8080",
            "http://localhost.example",
            "http://127.0.0.1.example",
        ] {
            assert!(leaves_this_machine(other), "{other}");
        }
    }

    #[test]
    fn whoever_is_on_loopback_is_told_what_a_phone_needs() {
        let told = greeting("http://127.0.0.1:8080", true, Some("192.168.1.20"));
        assert!(
            told.ends_with("\na phone cannot open this address; for one: countersign serve --trial-on-lan\n")
        );
        assert!(!told.contains('█'), "a code that no phone can use is not shown");
        let before = "\ndemo: open to all\nfor production: TLS\nopen http://127.0.0.1:8080/ in a browser\n";
        assert!(told.contains(before), "{told}");
        let unknown = greeting("http://localhost:8080", true, None);
        assert!(unknown.contains("http://<this machine's address>:8080"));
    }

    #[test]
    fn the_code_is_of_the_page() {
        let told = greeting("http://192.168.1.20:8080", true, None);
        let code = Code::of("http://192.168.1.20:8080/").unwrap().terminal().unwrap();
        assert!(told.ends_with(&code) && !told.contains("phone"));
        let bare = greeting("http://192.168.1.20:8080", false, None);
        assert!(bare.ends_with("open http://192.168.1.20:8080/ in a browser\n"));
        let long = format!("https://{}.example", "a".repeat(900));
        assert!(!greeting(&long, true, None).contains('█'));
    }
}
