//! Makes one measurement: gateways of its own, commands as children, evidence from their documents.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Parser;
use serde_json::Value;

use super::Setup;
use super::curves::pooled;
use super::evidence::{Evidence, run_is_valid, span_is_valid};
use super::gateway::{Gateway, Program, last_line};
use super::measure::{How, Measurement, Server, Span};
use super::supervised::{Start, Supervised};
use crate::cli::Cli;
use crate::clock::{self, from_seconds};
use crate::document::Curve;
use crate::error::{Error, Result};

/// Runs and pairs are tried at most this many times the number wanted.
const ATTEMPTS: usize = 2;
/// A command gets this much longer than its own deadline to end by itself, seconds.
const GRACE_SECONDS: f64 = 30.0;

/// Programs and folder of a run of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Runner<'a> {
    pub tester: &'a Path,
    pub gateway: &'a Path,
    pub out: &'a Path,
    pub setup: &'a Setup,
}

/// A measurement that was made.
#[derive(Debug, Clone)]
pub struct Measured {
    pub evidence: Evidence,
    /// Distributions pooled over its pairs; empty when there are no pairs with histograms.
    pub curves: Vec<Curve>,
    /// Names of the documents in the folder.
    pub documents: Vec<String>,
    /// The command that made the last of them.
    pub command: String,
    /// As the gateway names itself.
    pub version: String,
}

/// The documents so far, and what made them.
#[derive(Default)]
struct Trail {
    documents: Vec<String>,
    command: String,
    version: String,
}

impl Runner<'_> {
    /// Makes a measurement; `tick` is called about once a second.
    pub fn measure(&self, what: &Measurement, tick: &mut dyn FnMut()) -> Result<Measured> {
        let (mut trail, mut curves) = (Trail::default(), Vec::new());
        let wanted = what.wanted(self.setup);
        let evidence = match what.how {
            How::Floor | How::Rival(_) | How::Polling { .. } => {
                let gateway = self.start(what, what.name, what.pinned, &mut trail)?;
                let document = self.call(what, &gateway, what.name, what.pinned, (&mut trail, tick))?;
                curves = pooled(&document);
                Evidence::of_pairs(&document, wanted)
            }
            How::Workers => self.workers(what, wanted, (&mut trail, tick))?,
            How::Repeated { span, .. } => self.repeated(what, span, wanted, (&mut trail, tick))?,
        };
        Ok(Measured {
            evidence,
            curves,
            documents: trail.documents,
            command: trail.command,
            version: trail.version,
        })
    }

    /// The same run again and again, each on a fresh gateway.
    fn repeated(
        &self,
        what: &Measurement,
        span: Span,
        wanted: usize,
        (trail, tick): (&mut Trail, &mut dyn FnMut()),
    ) -> Result<Evidence> {
        let (mut documents, mut valid) = (Vec::new(), 0);
        for attempt in 1..=wanted * ATTEMPTS {
            if valid >= wanted {
                break;
            }
            let name = format!("{}-{attempt}", what.name);
            let gateway = self.start(what, &name, what.pinned, trail)?;
            let document = self.call(what, &gateway, &name, what.pinned, (&mut *trail, &mut *tick))?;
            valid += usize::from(span_is_valid(&document, span));
            documents.push(document);
        }
        Ok(Evidence::of_runs(&documents, span, wanted))
    }

    /// One worker pinned and all workers unpinned: two processes of the gateway, in turn.
    fn workers(
        &self,
        what: &Measurement,
        wanted: usize,
        (trail, tick): (&mut Trail, &mut dyn FnMut()),
    ) -> Result<Evidence> {
        const SIDES: [(&str, bool); 2] = [("pinned", true), ("unpinned", false)];
        let start = |(side, pinned): (&str, bool), trail: &mut Trail| {
            self.start(what, &format!("{}-{side}", what.name), pinned, trail)
        };
        let gateways = [start(SIDES[0], trail)?, start(SIDES[1], trail)?];
        let mut pairs = Vec::new();
        let mut valid = 0;
        // The first pair only warms both up.
        for attempt in 0..=wanted * ATTEMPTS {
            if valid >= wanted {
                break;
            }
            let mut run = |side: usize| {
                let (text, pinned) = SIDES[side];
                let name = format!("{}-{attempt}-{text}", what.name);
                self.call(what, &gateways[side], &name, pinned, (&mut *trail, &mut *tick))
            };
            // A B, then B A, and so on.
            let (a, b) = if attempt % 2 == 0 {
                let a = run(0)?;
                (a, run(1)?)
            } else {
                let b = run(1)?;
                (run(0)?, b)
            };
            if attempt > 0 {
                valid += usize::from(run_is_valid(&a) && run_is_valid(&b));
                pairs.push((a, b));
            }
        }
        Ok(Evidence::of_workers(&pairs, wanted))
    }

    /// A fresh gateway; its log and configuration are kept under `name`.
    fn start(&self, what: &Measurement, name: &str, pinned: bool, trail: &mut Trail) -> Result<Gateway> {
        let config = self.file(name, "toml");
        std::fs::write(&config, what.config()).map_err(Error::io("writing the gateway's configuration"))?;
        let program = Program {
            tester: self.tester,
            gateway: self.gateway,
            config: &config,
            log: &self.file(name, "gateway.log"),
        };
        let gateway = Gateway::start(program, pinned.then_some(self.setup.server_cpu))?;
        trail.version.clone_from(&gateway.version);
        Ok(gateway)
    }

    /// Runs the measurement's command once and reads its document.
    fn call(
        &self,
        what: &Measurement,
        gateway: &Gateway,
        name: &str,
        pinned: bool,
        (trail, tick): (&mut Trail, &mut dyn FnMut()),
    ) -> Result<Value> {
        let (json, log) = (self.file(name, "json"), self.file(name, "txt"));
        let server = Server {
            url: &gateway.url(),
            pid: gateway.pid(),
            pinned,
        };
        let command = what.command(self.setup, server, &json.to_string_lossy());
        trail.command = format!("countersign-loadtest {}", command.join(" "));
        if let Err(e) = Cli::try_parse_from(std::iter::once("countersign-loadtest").chain(words(&command))) {
            let text = e.to_string();
            return Err(Error::Process(format!(
                "this program does not take its command: {}",
                text.lines().next().unwrap_or_default()
            )));
        }
        // What an earlier run left must not pass for this one's.
        let _ = std::fs::remove_file(&json);
        let output = File::create(&log).map_err(Error::io("making a log"))?;
        let errors = output.try_clone().map_err(Error::io("making a log"))?;
        let mut child = Supervised::start(Start {
            tester: self.tester,
            cpu: None,
            command: std::iter::once(self.tester.as_os_str().to_owned())
                .chain(command.iter().map(Into::into))
                .collect(),
            env: &[],
            stdout: Stdio::from(output),
            stderr: Stdio::from(errors),
        })?;
        let until = clock::now() + from_seconds(what.deadline(self.setup) + GRACE_SECONDS);
        match child.wait(until, tick)? {
            0 | 1 => {}
            _ => {
                let why = last_line(&log).unwrap_or_default();
                let why = why.strip_prefix("countersign-loadtest: ").unwrap_or(&why);
                return Err(Error::Process(why.to_owned()));
            }
        }
        let text = std::fs::read_to_string(&json).map_err(Error::io("reading a measurement's document"))?;
        let document = serde_json::from_str(&text)
            .map_err(|e| Error::Process(format!("a measurement's document cannot be read: {e}")))?;
        trail.documents.push(format!("{name}.json"));
        Ok(document)
    }

    fn file(&self, name: &str, end: &str) -> PathBuf {
        self.out.join(format!("{name}.{end}"))
    }
}

fn words(command: &[String]) -> impl Iterator<Item = &str> {
    command.iter().map(String::as_str)
}
