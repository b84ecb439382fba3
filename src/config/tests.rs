use super::*;

#[test]
fn the_default_is_sound() {
    assert_eq!(Config::default().validate(), Ok(()));
    assert_eq!(Config::from_toml("").map(|c| c.listen.port()), Ok(8080));
}

#[test]
fn all_problems_are_told_at_once() {
    let config = Config::from_toml(
        r#"
        listen = "0.0.0.0:8080"
        limits_profile = "bench"
        allowed_origins = ["https://a.example/path", "example.com"]
        trusted_proxies = ["10.0.0.0/8", "proxy.example"]
        [tokens]
        access_ms = 1
        [qr]
        rotate_ms = 50
        [namespaces."a:b"]
        [namespaces.ok]
        counters = ["likes", "no spaces"]
        "#,
    )
    .unwrap();
    let problems = config.validate().unwrap_err();
    for part in [
        "bench",
        "public_origin",
        "a.example/path",
        "example.com",
        "proxy.example",
        "access_ms",
        "rotate_ms",
        "a:b",
        "counters",
    ] {
        assert!(
            problems.iter().any(|p| p.contains(part)),
            "{part} not in {problems:?}"
        );
    }
}

#[test]
fn namespaces_are_added_to_the_defaults() {
    let config = Config::from_toml("[namespaces.game]\n[namespaces.chat]\nanonymous = false").unwrap();
    let names: Vec<_> = config.namespaces.keys().map(String::as_str).collect();
    assert_eq!(names, ["chat", "default", "game", "live"]);
    assert!(!config.namespaces["chat"].anonymous && config.namespaces["default"].anonymous);
}

#[test]
fn unknown_keys_are_errors() {
    assert!(Config::from_toml("lisen = 1").unwrap_err().contains("lisen"));
    let told = Config::from_toml("[qr]\nlife = 1").unwrap_err();
    assert!(told.starts_with("line 2: ") && told.contains("life"), "{told}");
}
