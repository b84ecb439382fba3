use super::load::Trial;
use super::*;

const FILE: &str = "gateway.toml";

/// What comes of a file, variables and flags.
fn load(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Loaded {
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    Sources {
        file: Some((FILE.into(), text.to_owned())),
        environment: owned(environment),
        flags: owned(flags),
        trial: None,
    }
    .load()
}

/// The problems, each as it is printed.
fn told(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    load(text, environment, flags)
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_default_is_sound() {
    assert_eq!(Config::default().validate(), Ok(()));
    assert_eq!(Config::from_toml("").map(|c| c.listen.port()), Ok(8080));
    assert_eq!(load("", &[], &[]).warnings, []);
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = r#"
listen = "0.0.0.0:8080"
lisen = 1
limits_profile = "bench"
allowed_origins = ["https://a.example/path", "example.com"]
trusted_proxies = ["10.0.0.0/8", "proxy.example"]
rotate_ms = 5
[tokens]
access_ms = 1
issuer = 7
[qr]
rotate_ms = 60
lifetime = 100
match_mode = "phone_type"
step_up = true
[limits]
message_rate = { count = 5, period_ms = 0 }
like_rate = { count = 5, period_ms = 10, burst = 1, brust = 2 }
qr_tries_max = 300
room_reserved_percent = -1
[namespaces."a:b"]
[namespaces.ok]
counters = ["likes", "no spaces"]
anonymus = false
"#;
    let expected = [
        ":2: listen = \"0.0.0.0:8080\" is reachable by others: set public_origin",
        ":2: listen = \"0.0.0.0:8080\" is reachable by others, and tokens are signed with a key",
        ":2: listen = \"0.0.0.0:8080\" is reachable by others, and anybody may create",
        ":2: listen = \"0.0.0.0:8080\" is reachable by others, and the demo page is served: set demo = false, bind listen",
        ":2: listen = \"0.0.0.0:8080\" is reachable by others, and the limits of the profile bench",
        ":3: lisen is no setting; did you mean listen?",
        ":5: \"https://a.example/path\" is no origin",
        ":5: \"example.com\" is no origin",
        ":6: trusted_proxies: \"proxy.example\"",
        ":7: rotate_ms is no setting; did you mean qr.rotate_ms?",
        ":9: tokens.access_ms = 1 is out of bounds: 1000 to 86400000 ms",
        ":10: tokens.issuer must be text in quotes, and is a number",
        ":12: qr.rotate_ms = 60 gives a code more than",
        ":13: qr.lifetime is no setting; did you mean qr.lifetime_ms?",
        ":14: qr.match_mode cannot be \"phone_type\": phone_types, pc_types, none; did you mean \"phone_types\"?",
        ":15: qr.step_up must be text in quotes, and is true or false",
        ":17: limits.message_rate needs burst too",
        ":17: limits.message_rate.period_ms = 0 is out of bounds: 1 to 3600000 ms",
        ":18: limits.like_rate.brust is no setting; did you mean limits.like_rate.burst?",
        ":19: limits.qr_tries_max = 300 is out of bounds: 1 to 255",
        ":20: limits.room_reserved_percent = -1 is out of bounds: 0 to 90 percent",
        ":21: namespaces.a:b: a namespace is made of",
        ":23: namespaces.ok.counters: at most",
        ":24: namespaces.ok.anonymus is no setting; did you mean namespaces.ok.anonymous?",
    ];
    let problems = told(text, &[], &[]);
    for part in expected {
        let line = format!("{FILE}{part}");
        assert!(
            problems.iter().any(|problem| problem.starts_with(&line)),
            "{line}\nnot in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn what_is_no_toml_is_told_with_all_that_can_be_read() {
    let text = "# one\nlisten = 127.0.0.1\n[qr]\nrotate_ms == 5\nidel_ms = 6\noperator = \"secret9f3a\n[drain]\nhard_ms = 0\n";
    let problems = told(text, &[], &[]);
    for line in [2, 4, 5, 6, 8] {
        let place = format!("{FILE}:{line}: ");
        assert_eq!(
            problems
                .iter()
                .filter(|problem| problem.starts_with(&place))
                .count(),
            1,
            "{line}: {problems:#?}"
        );
    }
    assert!(
        problems.iter().all(|problem| !problem.contains("secret9f3a")),
        "{problems:#?}"
    );
}

#[test]
fn no_secret_is_quoted() {
    for bad in [
        "operator_key = secret9f3a",
        "operator_key = [\"secret9f3a\"]",
        "operator_key = \"secret9f3a",
        "operator_key = \"secret9f3a\"",
        "[[accounts.users]]\nid = \"a\"\npassword_hash = \"secret9f3a\"",
        "qr.rotate_ms = \"secret9f3a\"",
    ] {
        let problems = told(&format!("# one\n{bad}\n"), &[], &[]);
        assert!(!problems.is_empty(), "{bad}");
        assert!(
            problems.iter().all(|problem| !problem.contains("secret9f3a")),
            "{problems:?}"
        );
    }
    let problems = told("", &[("COUNTERSIGN_OPERATOR_KEY", "secret9f3a")], &[]);
    assert!(
        problems[0].starts_with("COUNTERSIGN_OPERATOR_KEY: operator_key is 24 to 256"),
        "{problems:?}"
    );
    assert!(!problems[0].contains("secret9f3a"));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let rate = |count| limits::RateLimit {
        count,
        period_ms: 1_000,
        burst: 20,
    };
    let text = "trusted_proxies = [\"10.1.0.0/16\"]\n[qr]\nrotate_ms = 31000\nidle_ms = 31000\nscanned_ms = 31000\n\
                [namespaces.chat]\nanonymous = false";
    let environment = [
        ("COUNTERSIGN_QR_IDLE_MS", "32000"),
        ("COUNTERSIGN_QR_SCANNED_MS", "32_000"),
        (
            "COUNTERSIGN_LIMITS_MESSAGE_RATE",
            "{ count = 7, period_ms = 1000, burst = 20 }",
        ),
        ("COUNTERSIGN_TRUSTED_PROXIES", "10.2.0.0/16, 192.0.2.7"),
        ("COUNTERSIGN_PUBLIC_ORIGIN", ""),
        ("COUNTERSIGN_NAMESPACES", "{ game = { counters = [\"hearts\"] } }"),
        ("COUNTERSIGN_DEMO", "false"),
        ("COUNTERSIGN_QR_STEP_UP", "always"),
    ];
    let flags = [
        ("qr.scanned_ms", "33000"),
        ("limits.like_rate", "{count=8,period_ms=1000,burst=20}"),
    ];
    let Loaded { config, problems, .. } = load(text, &environment, &flags);
    assert_eq!(problems, []);
    assert_eq!(
        (config.qr.rotate_ms, config.qr.idle_ms, config.qr.scanned_ms),
        (31_000, 32_000, 33_000)
    );
    assert_eq!(
        (config.limits.message_rate, config.limits.like_rate),
        (rate(7), rate(8))
    );
    assert_eq!(config.trusted_proxies, ["10.2.0.0/16", "192.0.2.7"]);
    assert_eq!(
        (config.public_origin, config.demo, config.qr.step_up),
        (None, false, StepUp::Always)
    );
    assert!(config.namespaces.contains_key("game") && config.namespaces["chat"].anonymous);

    let none = load(text, &[("COUNTERSIGN_TRUSTED_PROXIES", "")], &[]);
    assert!(none.config.trusted_proxies.is_empty());
}

#[test]
fn what_the_environment_and_flags_say_wrong_is_told_by_name() {
    let environment = [
        ("COUNTERSIGN_QR_ROTATE_MS", "soon"),
        ("COUNTERSIGN_LISTN", "127.0.0.1:1"),
        ("COUNTERSIGN_QR_IDEL_MS", "5"),
        ("COUNTERSIGN_COLOUR", "red"),
        ("COUNTERSIGN_LIMITS_MESSAGE_RATE", "5/s"),
    ];
    let problems = told("", &environment, &[("qr.idle_ms", "1"), ("listen", "here")]);
    for line in [
        "COUNTERSIGN_QR_ROTATE_MS: qr.rotate_ms must be a whole number, and is text",
        "COUNTERSIGN_LISTN is no setting; did you mean COUNTERSIGN_LISTEN?",
        "COUNTERSIGN_QR_IDEL_MS is no setting; did you mean COUNTERSIGN_QR_IDLE_MS?",
        "COUNTERSIGN_COLOUR is no setting; `countersign config-reference` lists them",
        "COUNTERSIGN_LIMITS_MESSAGE_RATE: limits.message_rate must be { count = …, period_ms = …, burst = … }, and is text",
        "--qr.idle_ms: qr.idle_ms = 1 is out of bounds: 50 to 86400000 ms",
        "--listen: listen \"here\" is no address and port, such as 127.0.0.1:8080 or [::1]:8080",
    ] {
        assert!(
            problems.iter().any(|problem| problem == line),
            "{line}\nnot in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
    // What is for something else is left alone.
    let others = [
        "COUNTERSIGN_LOG",
        "COUNTERSIGN_CONFIG",
        "COUNTERSIGN_TERMINAL_CODE",
        "COUNTERSIGN_TEST_SEED",
        "COUNTERSIGN_SOAK",
        "COUNTERSIGN_SERVICE_HOST",
        "COUNTERSIGN_PORT",
        "COUNTERSIGN_PORT_8080_TCP_ADDR",
        "COUNTERSIGN_OPERATOR_SERVICE_PORT_HTTP",
    ];
    assert_eq!(told("", &others.map(|name| (name, "x")), &[]), [""; 0]);
}

#[test]
fn nothing_depends_on_what_could_not_be_read() {
    // The origin was meant to be there: that it is missing is no second problem.
    let problems = told(
        "listen = \"0.0.0.0:1\"\npublic_origin = 7\nexposed = [\"generated_key\", \"open_registration\", \"demo_pages\"]",
        &[],
        &[],
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("gateway.toml:2: public_origin must be text"),
        "{problems:?}"
    );
}

#[test]
fn what_is_for_trying_is_refused_on_the_network_unless_it_is_said() {
    let sound = "listen = \"0.0.0.0:8080\"\npublic_origin = \"https://login.example\"\n";
    for (said, refused) in [
        ("", 3),
        (
            "exposed = [\"generated_key\", \"open_registration\", \"demo_pages\"]",
            0,
        ),
        ("exposed = [\"generated_key\"]", 2),
        ("demo = false\nexposed = [\"generated_key\"]", 1),
        (
            "demo = false\ntokens.key_file = \"key.pem\"\naccounts.open_registration = false",
            0,
        ),
        ("limits_profile = \"bench\"", 4),
        ("limits_profile = \"bench\"\nexposed = [\"bench_limits\"]", 3),
    ] {
        let problems = told(&format!("{sound}{said}"), &[], &[]);
        assert_eq!(problems.len(), refused, "{said}: {problems:#?}");
        assert!(
            problems.iter().all(|problem| problem.contains("exposed = [\"")),
            "{problems:?}"
        );
    }
    assert_eq!(told("limits_profile = \"bench\"", &[], &[]), [""; 0]);
}

#[test]
fn a_trial_takes_what_a_phone_needs_and_leaves_what_is_set() {
    let trial = |text: &str, machine: Option<&str>| {
        Sources {
            file: Some((FILE.into(), text.to_owned())),
            trial: Some(Trial {
                machine: machine.map(|address| address.parse().unwrap()),
            }),
            ..Sources::default()
        }
        .load()
    };
    let Loaded { config, problems, .. } = trial("", Some("192.168.1.20"));
    assert_eq!(problems, []);
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.public_origin.as_deref(), Some("http://192.168.1.20:8080"));

    let usual = trial("listen = \"0.0.0.0:80\"", Some("192.168.1.20"));
    assert_eq!(usual.problems, []);
    assert_eq!(usual.config.public_origin.as_deref(), Some("http://192.168.1.20"));

    let set = "listen = \"0.0.0.0:81\"\npublic_origin = \"http://pc.example:81\"\nexposed = []\ndemo = false";
    let Loaded { config, problems, .. } = trial(set, Some("192.168.1.20"));
    assert_eq!(config.public_origin.as_deref(), Some("http://pc.example:81"));
    assert_eq!((config.listen.port(), problems.len()), (81, 2), "{problems:?}");

    let unknown = trial("", None).problems;
    assert!(
        unknown.len() == 1 && unknown[0].text.contains("set public_origin"),
        "{unknown:?}"
    );
    let own = trial("listen = \"127.0.0.1:1\"", Some("192.168.1.20"));
    assert_eq!((own.problems.len(), own.config.public_origin), (0, None));
}

#[test]
fn seeded_accounts_are_looked_at() {
    let hash =
        "$argon2id$v=19$m=19456,t=2,p=1$YWxpY2VzYWx0YWxpY2VzYQ$hfUE9yXCeFIYhRnXV/vjgIxwFZIa9Z0Phw4uLJhHqWM";
    let user =
        |id: &str, hash: &str| format!("[[accounts.users]]\nid = \"{id}\"\npassword_hash = \"{hash}\"\n");
    let text = [
        user("alice", hash),
        user("bob", "$2b$12$abc"),
        user("alice", hash),
        user("no spaces", hash),
        user("carl", &hash.replace("m=19456", "m=4194304")),
        user("dora", &hash.replace("argon2id", "argon2i")),
        "[[accounts.users]]\nid = \"erik\"\npasword_hash = \"x\"\n".to_owned(),
        user("fred", &hash.replace("t=2", "t=3")),
    ]
    .concat();
    let loaded = load(&text, &[], &[]);
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    for part in [
        ":6: accounts.users[1].password_hash is no PHC string",
        ":8: accounts.users[2].id = \"alice\" is there twice",
        ":11: accounts.users[3].id = \"no spaces\"",
        ":15: accounts.users[4].password_hash costs m=4194304, t=2, p=1: at most m=1048576",
        ":18: accounts.users[5].password_hash is of another kind than argon2id",
        ":19: accounts.users[6].password_hash is no PHC string",
        ":21: accounts.users[6].pasword_hash is no setting; did you mean accounts.users[6].password_hash?",
    ] {
        let line = format!("{FILE}{part}");
        assert!(
            problems.iter().any(|problem| problem.starts_with(&line)),
            "{line}\nnot in {problems:#?}"
        );
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
    let warned: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warned
            .iter()
            .any(|told| told.contains("\"fred\" costs something else")),
        "{warned:?}"
    );

    let list = format!("[{{ id = \"alice\", password_hash = \"{hash}\" }}]");
    let loaded = load("", &[("COUNTERSIGN_ACCOUNTS_USERS", &list)], &[]);
    assert_eq!(
        (loaded.problems, loaded.config.accounts.users[0].id.as_str()),
        (vec![], "alice")
    );

    let many = (0..=SEEDED_USERS_MAX)
        .map(|n| user(&format!("u{n}"), hash))
        .collect::<String>();
    let problems = told(&many, &[], &[]);
    assert!(
        problems.len() == 1 && problems[0].contains("at most 1000"),
        "{problems:?}"
    );
    let few = told(
        &format!("limits.accounts_max = 1\n{}{}", user("a", hash), user("b", hash)),
        &[],
        &[],
    );
    assert!(
        few.len() == 1 && few[0].contains("limits.accounts_max = 1"),
        "{few:?}"
    );
}

#[test]
fn every_setting_can_be_said_everywhere() {
    let fields = fields::all();
    let mut variables: Vec<_> = fields.iter().filter_map(fields::Field::variable).collect();
    let said = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), said, "two settings have one variable");
    for field in &fields {
        assert!(!field.row.what.is_empty(), "{}", field.path);
        assert!(
            field.kind != Kind::Number || matches!(field.row.bound, settings::Bound::Within(..)),
            "{} has no bound",
            field.path
        );
        // As a file has its default, or the example: that is what the environment and flags take, but for quotes.
        let Some(value) = field
            .default
            .as_deref()
            .or(field.row.example)
            .filter(|_| !field.is_below_many())
        else {
            continue;
        };
        let value = value.trim_matches('"');
        let variable = field.variable().unwrap();
        // Of these one without the other is told.
        let alone = field.path.starts_with("tls.");
        let mut problems = told("", &[(&variable, value)], &[]);
        problems.retain(|problem| !alone || !problem.contains("is not: name the"));
        assert_eq!(problems, [""; 0], "{variable}={value}");
        if field.flag().is_some() {
            let mut problems = told("", &[], &[(&field.path, value)]);
            problems.retain(|problem| !alone || !problem.contains("is not: name the"));
            assert_eq!(problems, [""; 0], "{} {value}", field.path);
        } else {
            assert!(field.row.has(Mark::Secret), "{}", field.path);
        }
    }
}

#[test]
fn the_example_is_sound_with_all_of_it_and_without() {
    let example = reference::example();
    let read = |text: &str| {
        let sources = Sources {
            file: Some((FILE.into(), text.to_owned())),
            ..Sources::default()
        };
        sources.load()
    };
    assert_eq!(read(&example).problems, []);
    let all: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(set) if !set.starts_with(' ') => format!("{set}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = read(&all);
    assert_eq!(loaded.problems, [], "{all}");
    // All of it is there.
    for field in fields::all().iter().filter(|field| field.kind != Kind::Table) {
        let line = format!("\n{} = ", field.row.name);
        assert!(all.contains(&line), "{}", field.path);
    }
    assert!(loaded.config.operator_key.is_some() && loaded.config.accounts.users.len() == 1);
}
