//! One sign-in with everybody in it, and what must hold when it is over, whatever happened on the lines.

use std::time::Duration;

use countersign_protocol::server::MatchMode;
use serde_json::json;
use tokio::sync::watch;

use super::agree::agreed;
use super::common::{Person, TestServer, request};
use super::link::Calls;
use super::pc::{Ending, Habit, Over, Pc, Shown};
use super::phone::{Phone, PhoneEnd, Will};
use super::plan::{Fault, Plan};
use super::proxy::{Proxy, Stream};
use super::twice::Double;

/// Nothing takes this long; what does, hangs.
const HANGS: Duration = Duration::from_secs(120);

/// A sign-in to be.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) name: u64,
    /// As the gateway has it.
    pub(crate) typist: MatchMode,
    pub(crate) over: Over,
    /// Requests of one party go over one connection, while it lasts.
    pub(crate) keeps: bool,
    pub(crate) habit: Habit,
    pub(crate) pc: Plan,
    /// Phones, each another user's, with their lines. They scan at once.
    pub(crate) phones: Vec<(Will, Plan)>,
}

/// How it ended, for a tally.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) state: String,
    /// Phones that found nothing to scan any more, and phones that found another's scan.
    pub(crate) too_late: usize,
    pub(crate) beaten: usize,
    /// Those that happened.
    pub(crate) faults: Vec<Fault>,
    /// What came twice on the PC's line.
    pub(crate) doubles: Vec<Double>,
}

/// Carries one out.
pub(crate) async fn carry_out(server: &TestServer, setting: Setting) -> Outcome {
    let told = format!("{setting:?}");
    let carried = tokio::time::timeout(HANGS, act(server, setting));
    carried.await.unwrap_or_else(|_| panic!("it hangs: {told}"))
}

async fn act(server: &TestServer, setting: Setting) -> Outcome {
    let name = setting.name;
    let mut people = Vec::new();
    for n in 0..setting.phones.len() {
        people.push(server.user(&format!("u{name}-{n}")).await);
    }
    let (screen, seen) = watch::channel(Shown::default());
    let pc_line = Proxy::start(server.addr, setting.pc.clone()).await;
    let (types, typed) = watch::channel(None);
    let device = format!("pc-{name}");
    let pc = Pc::new(pc_line.addr, setting.keeps, device, setting.habit, screen, typed);
    let mut lines = Vec::new();
    for (_, plan) in &setting.phones {
        lines.push(Proxy::start(server.addr, plan.clone()).await);
    }
    let mut phones: Vec<Phone<'_>> = (people.iter().zip(&lines).zip(&setting.phones))
        .map(|((person, line), (will, _))| Phone {
            calls: Calls::new(line.addr, setting.keeps),
            person,
            will: *will,
            screen: seen.clone(),
            tries: 0,
            types: types.clone(),
            has_scanned: false,
            shows_number: false,
            types_codes: setting.keeps,
        })
        .collect();
    let ((ending, pc), ends) = tokio::join!(
        pc.run(setting.over),
        futures::future::join_all(phones.iter_mut().map(Phone::run))
    );
    let wills = setting.phones.iter().map(|(will, _)| *will);
    if let Err(what) = agreed(&ending, &wills.zip(ends.iter().cloned()).collect::<Vec<_>>()) {
        panic!("{what}");
    }
    // An app's code is for phones to type, whatever else is so.
    if matches!(ending, Ending::SignedIn { .. }) && setting.over != Over::Grants {
        let at_the_pc = pc.typed.borrow().is_some();
        assert_eq!(at_the_pc, setting.typist == MatchMode::PcTypes, "who typed");
    }
    let doubles = came_twice(&pc, &ending, &pc_line, &lines).await;
    // Copies included.
    one_session(server, &people, &ending, &ends).await;
    let phone_streams = lines.iter().flat_map(Proxy::streams).collect::<Vec<_>>();
    only_proven(&pc, &ending, &pc_line.streams(), &phone_streams);
    let came = |to: &PhoneEnd| ends.iter().filter(|end| *end == to).count();
    Outcome {
        too_late: came(&PhoneEnd::TooLate),
        beaten: came(&PhoneEnd::Beaten),
        state: match ending {
            Ending::SignedIn { .. } => "redeemed".into(),
            Ending::Final { state, reason } => format!("{state} {reason}"),
            Ending::Left => "left".into(),
        },
        faults: lines.iter().chain([&pc_line]).flat_map(Proxy::faults).collect(),
        doubles,
    }
}

/// What came twice was answered twice, and only its own questions can have brought a PC an event again, or a newer code
/// in the place of its own.
async fn came_twice(pc: &Pc, ending: &Ending, pc_line: &Proxy, lines: &[Proxy]) -> Vec<Double> {
    let doubles = pc_line.doubles().await;
    doubles.iter().for_each(Double::judge);
    for line in lines {
        line.doubles().await.iter().for_each(Double::judge);
    }
    let twice = |what: &str| doubles.iter().any(|double| double.what == what);
    assert!(
        pc.repeats == 0 || twice("qr.watch"),
        "{} events came again",
        pc.repeats
    );
    if let Ending::Final { reason, .. } = ending {
        assert!(reason != "superseded" || twice("qr.open"), "superseded by nobody");
    }
    doubles
}

/// Everybody has the session of their phone and nothing else, but for one who let one PC in.
async fn one_session(server: &TestServer, people: &[Person], ending: &Ending, ends: &[PhoneEnd]) {
    for (person, end) in people.iter().zip(ends) {
        let signed_out = *end == PhoneEnd::SignedOut;
        let again;
        let asks = if signed_out {
            again = Person {
                addr: server.addr,
                device: "again".into(),
                tokens: server.login(person.tokens.user.id.as_str(), "again").await,
            };
            &again
        } else {
            person
        };
        let answer = asks.request("GET", "/v1/sessions").send().await.json();
        let found = answer["sessions"].as_array().unwrap().len();
        let theirs = match ending {
            Ending::SignedIn { user, .. } => user == person.tokens.user.id.as_str(),
            _ => false,
        };
        assert_eq!(found, 1 + usize::from(theirs), "{ending:?} {end:?} {answer}");
    }
    if let Ending::SignedIn { session, access, .. } = ending {
        let me = request(server.addr, "GET", "/v1/me")
            .header("authorization", &format!("Bearer {access}"))
            .header("countersign-device", &device_of(people));
        let me = me.send().await;
        assert_eq!((me.status, &me.json()["session"]), (200, &json!(session)));
    }
}

/// The PC's device has the number of the attempt, as its people have.
fn device_of(people: &[Person]) -> String {
    let user = people[0].tokens.user.id.as_str();
    let number = user.trim_start_matches('u').split('-').next().unwrap();
    format!("pc-{number}")
}

/// The claim was told once; what only its holder may know came over no connection that had not proved it.
fn only_proven(pc: &Pc, ending: &Ending, pc_streams: &[Stream], phone_streams: &[Stream]) {
    let Some((_, claim)) = &pc.claim else { return };
    let told = pc_streams.iter().filter(|s| has(&s.received, claim)).count();
    assert_eq!(told, 1, "a claim is told once");
    let mut secrets = Vec::from_iter(&pc.ticket);
    if let Ending::SignedIn { access, refresh, .. } = ending {
        secrets.extend([access, refresh]);
    }
    for secret in secrets {
        for stream in pc_streams.iter().filter(|s| has(&s.received, secret)) {
            assert!(
                has(&stream.sent, claim) || has(&stream.received, claim),
                "without the claim"
            );
            if Some(secret) != pc.ticket.as_ref() {
                assert!(
                    has(&stream.sent, pc.ticket.as_ref().unwrap()),
                    "without the ticket"
                );
            }
        }
        assert!(
            phone_streams.iter().all(|s| !has(&s.received, secret)),
            "told to a phone"
        );
    }
    assert!(
        phone_streams.iter().all(|s| !has(&s.received, claim)),
        "a claim told to a phone"
    );
}

pub(crate) fn has(bytes: &[u8], text: &str) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|w| w == text.as_bytes())
}
