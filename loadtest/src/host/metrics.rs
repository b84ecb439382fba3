//! Processor time and memory of a gateway by its `/metrics`: of one whose process is not on this machine.
//!
//! A thread asks, so that the tester's does not wait for a look a second; it waits where a span begins or ends with
//! the answer. A figure that cannot be had is an error, and never 0.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::exposition::Figures;
use super::process::{CpuSource, CpuSpan};
use crate::clock::{self, MILLI, Nanos, from_seconds};
use crate::error::{Error, Result};
use crate::http::Client;
use crate::target::Target;

/// Longest wait for an answer; a gateway gives up on itself before.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Most questions waiting to be asked.
const ASKS_MAX: usize = 8;
/// The gateway counts its processor time in ticks of this length, `USER_HZ` of Linux.
pub const TICK: Nanos = 10 * MILLI;
/// User and system time are each cut to whole ticks.
const CUT: Nanos = 2 * TICK;
/// Memory that was asked for less than this ago is not asked for again.
const FRESH: Nanos = 100 * MILLI;

/// What a gateway said of itself at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When the figures were wanted, and when they were there: they are of some moment between.
    pub asked_at: Nanos,
    pub answered_at: Nanos,
    figures: Figures,
}

impl Sample {
    /// Resident memory, bytes.
    pub fn memory_bytes(&self) -> u64 {
        // Checked to be positive; no machine has more than the type.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bytes = self.figures.memory_bytes as u64;
        bytes
    }

    /// Whether memory need not be asked for again at `now`.
    fn is_fresh(&self, now: Nanos) -> bool {
        now < self.asked_at + FRESH
    }

    /// What was used since `earlier`, a sample of the same gateway.
    pub fn since(&self, earlier: &Sample) -> Result<CpuSpan> {
        let (now, before) = (&self.figures, &earlier.figures);
        if now.started != before.started || now.cpu_seconds < before.cpu_seconds {
            return Err(Error::Process(
                "the gateway behind --metrics was started anew meanwhile: nothing can be said of this span"
                    .to_owned(),
            ));
        }
        let wall = self.asked_at.saturating_sub(earlier.asked_at);
        let cpu = from_seconds(now.cpu_seconds - before.cpu_seconds);
        let asking = |sample: &Sample| sample.answered_at.saturating_sub(sample.asked_at);
        let cores = cpu as f64 / wall.max(1) as f64;
        let moved = cores * clock::seconds(asking(self) + asking(earlier));
        Ok(CpuSpan {
            cpu,
            waiting: None,
            busiest: None,
            wall,
            error: Some(CUT + from_seconds(moved)),
            source: CpuSource::Metrics,
        })
    }
}

type Answer = Result<Sample, String>;

/// A question; who asked may wait for the answer.
struct Ask {
    at: Nanos,
    answer: Option<SyncSender<Answer>>,
}

#[derive(Default)]
struct Newest {
    answer: Option<Answer>,
    /// A look is on its way.
    looking: bool,
}

/// Asks a gateway for its figures. Clones ask by the same connection, which is closed with the last.
#[derive(Clone)]
pub struct Reader {
    url: Arc<str>,
    asks: SyncSender<Ask>,
    newest: Arc<Mutex<Newest>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.url).finish()
    }
}

/// An answer that is awaited.
#[derive(Debug)]
pub struct Pending {
    url: Arc<str>,
    answer: Receiver<Answer>,
}

impl Reader {
    /// Begins to ask `target` for its figures, and asks once: what is wrong shows before anything is measured.
    pub fn start(target: Target) -> Result<Reader> {
        Reader::patient_for(target, ANSWER_MAX)
    }

    fn patient_for(target: Target, answer_max: Duration) -> Result<Reader> {
        let url = format!("http://{}{}", target.authority, target.path).into();
        let newest = Arc::<Mutex<Newest>>::default();
        let (asks, asked) = sync_channel(ASKS_MAX);
        let mut client = Client::new(target, None).patient_for(answer_max);
        let told = Arc::clone(&newest);
        std::thread::spawn(move || {
            for ask in asked {
                answer(&mut client, &ask, &told);
            }
        });
        let reader = Reader { url, asks, newest };
        reader.ask().wait()?;
        Ok(reader)
    }

    /// Where the figures are from.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks now, and does not wait.
    pub fn ask(&self) -> Pending {
        let (sender, answer) = sync_channel(1);
        // The thread ends with the last reader alone: if it cannot be told, the answer is missing and says so.
        let _ = self.asks.send(Ask {
            at: clock::now(),
            answer: Some(sender),
        });
        Pending {
            url: Arc::clone(&self.url),
            answer,
        }
    }

    /// Asks now and waits, unless what is known is of this moment.
    pub fn now(&self) -> Result<Sample> {
        match self.lock().answer {
            Some(Ok(sample)) if sample.is_fresh(clock::now()) => return Ok(sample),
            _ => {}
        }
        self.ask().wait()
    }

    /// Lets [`Reader::newest`] be renewed. Nobody waits for it.
    pub fn look(&self) {
        let mut newest = self.lock();
        if !newest.looking {
            let ask = Ask {
                at: clock::now(),
                answer: None,
            };
            newest.looking = !matches!(self.asks.try_send(ask), Err(TrySendError::Full(_)));
        }
    }

    /// The newest answer.
    pub fn newest(&self) -> Result<Sample> {
        let answer = self.lock().answer.clone();
        answer
            .unwrap_or_else(|| Err("nothing was asked yet".to_owned()))
            .map_err(|why| failed(&self.url, why))
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Waits for the answer.
    pub fn wait(&self) -> Result<Sample> {
        let answer = self.answer.recv();
        answer
            .unwrap_or_else(|_| Err("nobody asks any more".to_owned()))
            .map_err(|why| failed(&self.url, why))
    }
}

fn failed(url: &str, why: String) -> Error {
    Error::Http {
        call: format!("GET {url}"),
        why,
    }
}

fn answer(client: &mut Client, ask: &Ask, newest: &Mutex<Newest>) {
    let answer = fetch(client).map(|figures| Sample {
        asked_at: ask.at,
        answered_at: clock::now(),
        figures,
    });
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    newest.answer = Some(answer.clone());
    match &ask.answer {
        // Who asked may have gone on without.
        Some(sender) => drop(sender.send(answer)),
        None => newest.looking = false,
    }
}

fn fetch(client: &mut Client) -> Result<Figures, String> {
    let response = client.get().map_err(|e| e.to_string())?;
    let text = String::from_utf8(response.body).map_err(|_| "the answer is no text".to_owned())?;
    if response.status != 200 {
        let beginning: String = text.chars().take(200).collect();
        return Err(format!("status {} {beginning}", response.status));
    }
    Figures::read(&text)
}

#[cfg(test)]
mod tests;
