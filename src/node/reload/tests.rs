use crate::clock::Clock;
use crate::config::{Config, Profile};
use crate::engine::Engine;
use crate::node::{Change, Effect, Node, SETTINGS, memory_engine};

fn node(config: &Config) -> std::sync::Arc<Node> {
    let engine = Engine::Memory(memory_engine(config));
    let origin = "http://127.0.0.1:1".to_owned();
    let built = Node::build(config.clone(), engine, Clock::system(), origin, 100).unwrap();
    built.start()
}

fn read(text: &str) -> Config {
    Config::from_toml(text).unwrap()
}

fn names(changes: &[Change], effect: Effect) -> Vec<&'static str> {
    let of = changes.iter().filter(|change| change.effect == effect);
    of.map(|change| change.name).collect()
}

#[tokio::test]
async fn what_can_change_changes_and_the_rest_is_named() {
    let node = node(&Config::default());
    assert_eq!(node.reload(Config::default()), Ok(Vec::new()));
    let other = "listen = \"127.0.0.1:1\"\nallowed_origins = [\"https://a.example\"]\n\
        [accounts]\nopen_registration = false\n[qr]\nlifetime_ms = 1000\nrotate_ms = 500\nmatch_mode = \"none\"\n\
        [limits]\nlike_max = 7\nrooms_max = 1\nconnections_max = 1\n[namespaces.game]";
    let changes = node.reload(read(other)).unwrap();
    assert_eq!(
        names(&changes, Effect::Now),
        [
            "allowed_origins",
            "accounts.open_registration",
            "namespaces",
            "limits.like_max"
        ]
    );
    assert_eq!(
        names(&changes, Effect::New),
        ["qr.match_mode", "limits.connections_max"]
    );
    assert_eq!(
        names(&changes, Effect::Restart),
        ["listen", "qr.lifetime_ms", "qr.rotate_ms", "limits.rooms_max"]
    );
    let like = changes
        .iter()
        .find(|change| change.name == "limits.like_max")
        .unwrap();
    assert_eq!((like.from.as_str(), like.to.as_str()), ("100", "7"));
    // What is said to be in force is.
    assert_eq!((node.limits().like_max, node.config().limits.like_max), (7, 7));
    assert_eq!(node.limits().rooms_max, 65_536);
    assert_eq!(
        (node.config().listen.port(), node.config().qr.lifetime_ms),
        (8080, 300_000)
    );
    assert!(node.origins.allows("https://a.example"));
    let peer = "192.0.2.1".parse().unwrap();
    let _first = node.admit(peer).unwrap();
    assert!(
        node.admit(peer).unwrap().refusal().is_some(),
        "one connection is all there may be"
    );
    // The same again: what needs a restart is told again, and nothing else.
    assert_eq!(
        names(&node.reload(read(other)).unwrap(), Effect::Now),
        Vec::<&str>::new()
    );
}

#[tokio::test]
async fn a_bad_one_changes_nothing_and_all_of_it_is_told() {
    let node = node(&Config::default());
    let bad = "allowed_origins = [\"https://a.example\", \"a.example\"]\n\
        [tokens]\nkey_file = \"/nonexistent/key\"\n\
        [tls]\ncertificate_file = \"/nonexistent/c\"\nkey_file = \"/nonexistent/k\"";
    let mut bad = read(bad);
    bad.limits.like_max = 0;
    let problems = node.reload(bad).unwrap_err();
    for part in ["a.example", "like_max", "/nonexistent/key", "/nonexistent/c"] {
        assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:?}");
    }
    assert_eq!((problems.len(), node.limits().like_max), (4, 100));
    assert!(!node.origins.allows("https://a.example"));
}

#[tokio::test]
async fn rates_follow_under_the_profile_too() {
    let bench = Config {
        limits_profile: Profile::Bench,
        ..Config::default()
    };
    let node = node(&bench);
    let mut slower = bench;
    slower.limits.command_rate.count = 5;
    node.reload(slower.clone()).unwrap();
    assert_eq!(node.limits().command_rate.count, 5_000);
    // Who had used up what there was has its full share of the new rate, and others are held to it too.
    let user = countersign_protocol::UserId::parse("alice").unwrap();
    while node.limiters.message.check(&user).is_ok() {}
    assert!(node.limiters.message.check(&user).is_err());
    slower.limits.message_rate_per_user.count += 1;
    node.reload(slower).unwrap();
    assert!(node.limiters.message.check(&user).is_ok());
}

#[tokio::test]
async fn secrets_are_not_told() {
    let node = node(&Config::default());
    let changes = node
        .reload(read("operator_key = \"secret9f3asecret9f3asecret9f3a\""))
        .unwrap();
    assert_eq!(names(&changes, Effect::Now), ["operator_key"]);
    assert!(!format!("{changes:?}").contains("secret9f3a"));
}

#[test]
fn every_limit_has_its_row() {
    for name in crate::config::Limits::names() {
        let path = format!("limits.{name}");
        assert_eq!(
            SETTINGS.iter().filter(|(known, _)| *known == path).count(),
            1,
            "{path}"
        );
    }
}

/// What a reload puts in force next to what only a restart changes is held to the same rules as a start.
#[tokio::test]
async fn a_mixture_that_nobody_would_start_with_is_refused() {
    let reached = "listen = \"0.0.0.0:8080\"\npublic_origin = \"https://a.example\"\ndemo = false\n\
        exposed = [\"generated_key\"]\n[accounts]\nopen_registration = false";
    let node = node(&read(reached));
    let moved = read("listen = \"127.0.0.1:8080\"\npublic_origin = \"https://a.example\"\ndemo = false");
    assert_eq!(moved.validate(), Ok(()));
    let problems = node.reload(moved).unwrap_err();
    assert!(
        problems
            .iter()
            .any(|p| p.contains("anybody may create an account")),
        "{problems:?}"
    );
    assert!(!node.config().accounts.open_registration);
}
