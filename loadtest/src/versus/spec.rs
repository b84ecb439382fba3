//! What `--a` and `--b` name.

use std::str::FromStr;

use clap::ValueEnum;

use super::serve::WsIdiom;
use crate::dialect::Dialect;

/// One target of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideSpec {
    /// As it was written.
    pub label: String,
    pub server: Server,
    /// `None`: as the common options have it.
    pub pin: Option<Pin>,
}

/// Where the server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// It runs already.
    Running {
        dialect: Dialect,
        url: String,
        pid: u32,
    },
    /// Started and stopped by the tester.
    Floor {
        coalesce: bool,
    },
    Ws(WsIdiom),
    Nats,
}

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    Anywhere,
    Processor(usize),
}

impl SideSpec {
    /// Whether it is the floor, which is started last: its frames are as long as the other side's.
    pub fn is_floor(&self) -> bool {
        matches!(self.server, Server::Floor { .. })
    }

    /// The dialect the side speaks.
    pub fn dialect(&self) -> Dialect {
        match self.server {
            Server::Running { dialect, .. } => dialect,
            Server::Floor { .. } => Dialect::Floor,
            Server::Ws(_) => Dialect::Ws,
            Server::Nats => Dialect::Nats,
        }
    }
}

impl FromStr for SideSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<SideSpec, String> {
        let mut words = text.split(',').map(str::trim);
        let first = words.next().unwrap_or_default();
        let (mut url, mut pid, mut pin) = (None, None, None);
        for word in words {
            match word.split_once('=') {
                Some(("pid", n)) => pid = Some(n.parse().map_err(|_| format!("{n} is no process id"))?),
                Some(("pin", "none")) => pin = Some(Pin::Anywhere),
                Some(("pin", n)) => {
                    let cpu = n
                        .parse()
                        .map_err(|_| format!("pin is a processor or none, not {n}"))?;
                    pin = Some(Pin::Processor(cpu));
                }
                None if word.starts_with("ws://") => url = Some(word.to_owned()),
                _ => return Err(format!("{word} is neither ws://host:port nor pid= nor pin=")),
            }
        }
        let server = match (url, pid) {
            (Some(url), Some(pid)) => Server::Running {
                dialect: Dialect::from_str(first, false)
                    .map_err(|_| format!("{first} is no protocol (countersign, floor, ws, nats)"))?,
                url,
                pid,
            },
            (None, None) => started(first)?,
            (Some(_), None) => return Err("a running server needs pid=, for its processor time".to_owned()),
            (None, Some(_)) => return Err("a running server needs its ws://host:port".to_owned()),
        };
        Ok(SideSpec {
            label: text.to_owned(),
            server,
            pin,
        })
    }
}

fn started(name: &str) -> Result<Server, String> {
    Ok(match name {
        "floor" => Server::Floor { coalesce: false },
        "floor-coalesced" => Server::Floor { coalesce: true },
        "ws" => Server::Ws(WsIdiom::Plain),
        "ws-prepared" => Server::Ws(WsIdiom::Prepared),
        "nats" => Server::Nats,
        "countersign" => {
            return Err("a gateway is started by you: countersign,ws://host:port,pid=PID".to_owned());
        }
        _ => {
            return Err(format!(
                "{name}: the tester starts floor, floor-coalesced, ws, ws-prepared, nats"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_read() {
        let running = |dialect| Server::Running {
            dialect,
            url: "ws://127.0.0.1:80".to_owned(),
            pid: 7,
        };
        for (text, server, pin) in [
            (
                "countersign,ws://127.0.0.1:80,pid=7",
                running(Dialect::Countersign),
                None,
            ),
            (
                "nats, ws://127.0.0.1:80, pin=3, pid=7",
                running(Dialect::Nats),
                Some(Pin::Processor(3)),
            ),
            (
                "floor,pid=7,ws://127.0.0.1:80,pin=none",
                running(Dialect::Floor),
                Some(Pin::Anywhere),
            ),
            ("floor", Server::Floor { coalesce: false }, None),
            (
                "floor-coalesced,pin=0",
                Server::Floor { coalesce: true },
                Some(Pin::Processor(0)),
            ),
            ("ws", Server::Ws(WsIdiom::Plain), None),
            ("ws-prepared", Server::Ws(WsIdiom::Prepared), None),
            ("nats", Server::Nats, None),
        ] {
            let spec: SideSpec = text.parse().unwrap();
            assert_eq!((spec.server, spec.pin, spec.label.as_str()), (server, pin, text));
        }
        for bad in [
            "",
            "countersign",
            "countersign,ws://127.0.0.1:80",
            "ws,pid=7",
            "http,ws://127.0.0.1:80,pid=7",
            "floor,pin=x",
            "floor,pin",
            "ws,ws://127.0.0.1:80,pid=x",
        ] {
            assert!(bad.parse::<SideSpec>().is_err(), "{bad}");
        }
    }
}
