use proptest::prelude::*;

use super::*;

fn name(raw: &str) -> String {
    display_name(raw).unwrap_or_default()
}

#[test]
fn ordinary_names_stay_as_they_are() {
    for kept in [
        "Alice",
        "José",
        "Zoë van der Berg",
        "O'Brien-Smith",
        "李小龙",
        "山田 太郎",
        "김철수",
        "Đặng Thị Hồng",
        "Ελένη",
        "Анна",
        "محمد",
        "דוד",
        "श्रीनिवास",
        "ประยุทธ์",
        "ქეთევან",
        "a",
        "🙂",
        "👍🏽",
        "❤️",
        "1️⃣",
        "🇩🇪",
        "x  y",
        "=cmd()",
        "<b>",
    ] {
        assert_eq!(name(kept), kept);
    }
}

#[test]
fn text_is_composed_and_trimmed() {
    for (raw, expected) in [
        ("Jose\u{301}", "José"),
        ("\u{212B}", "Å"),
        ("\u{1112}\u{1161}\u{11AB}", "한"),
        ("  Alice \t", "Alice"),
        ("\u{3000}Alice\u{A0}", "Alice"),
        ("\u{200B} \u{FEFF}Alice\u{2028} \u{200D}", "Alice"),
        ("e\u{200B}\u{301}", "é"),
        ("e\u{200D}\u{301}", "é"),
        ("e\u{FE0F}\u{301}", "é"),
    ] {
        assert_eq!(name(raw), expected, "{raw:?}");
    }
}

#[test]
fn what_is_not_seen_is_dropped() {
    for hidden in [
        '\0',
        '\u{7}',
        '\u{8}',
        '\t',
        '\n',
        '\r',
        '\u{1B}',
        '\u{7F}',
        '\u{85}',
        '\u{9B}',
        '\u{9F}',
        '\u{AD}',
        '\u{34F}',
        '\u{600}',
        '\u{605}',
        '\u{61C}',
        '\u{6DD}',
        '\u{70F}',
        '\u{890}',
        '\u{8E2}',
        '\u{115F}',
        '\u{1160}',
        '\u{17B4}',
        '\u{180B}',
        '\u{180E}',
        '\u{180F}',
        '\u{200B}',
        '\u{200C}',
        '\u{200D}',
        '\u{200E}',
        '\u{200F}',
        '\u{2028}',
        '\u{2029}',
        '\u{202A}',
        '\u{202B}',
        '\u{202C}',
        '\u{202D}',
        '\u{202E}',
        '\u{2060}',
        '\u{2061}',
        '\u{2064}',
        '\u{2065}',
        '\u{2066}',
        '\u{2067}',
        '\u{2068}',
        '\u{2069}',
        '\u{206A}',
        '\u{206F}',
        '\u{2800}',
        '\u{3164}',
        '\u{FE00}',
        '\u{FE0E}',
        '\u{FE0F}',
        '\u{FEFF}',
        '\u{FFA0}',
        '\u{FFF9}',
        '\u{FFFB}',
        '\u{110BD}',
        '\u{110CD}',
        '\u{13430}',
        '\u{1343F}',
        '\u{1BCA0}',
        '\u{1D173}',
        '\u{1D17A}',
        '\u{E0001}',
        '\u{E0020}',
        '\u{E0041}',
        '\u{E007F}',
        '\u{E0100}',
    ] {
        assert_eq!(
            name(&format!("{hidden}Al{hidden}{hidden}ice{hidden}")),
            "Alice",
            "{hidden:?}"
        );
        assert_eq!(display_name(&hidden.to_string().repeat(3)), None, "{hidden:?}");
    }
    for (raw, expected) in [
        ("admin\u{202E}gpj.exe", "admingpj.exe"),
        ("\u{1B}[31mroot\u{1B}[0m", "[31mroot[0m"),
        ("a\r\nINFO forged log line", "aINFO forged log line"),
        ("ad\u{200B}min", "admin"),
    ] {
        assert_eq!(name(raw), expected);
    }
    for empty in ["", " ", "\n\n", "\u{A0}\u{2003}", "\u{200D}\u{200D}"] {
        assert_eq!(display_name(empty), None);
    }
}

#[test]
fn joiners_stay_in_emoji_and_nowhere_else() {
    for kept in ["👩‍👩‍👧", "👩🏽‍🚀", "🏳️‍🌈", "❤️‍🔥", "🧑‍⚖️", "🙂‍↔️", "👨‍👩‍👧‍👦 family"]
    {
        assert_eq!(name(kept), kept);
    }
    for (raw, expected) in [
        ("👩\u{200D}", "👩"),
        ("\u{200D}👩", "👩"),
        ("👩\u{200D}a", "👩a"),
        ("a\u{200D}👩", "a👩"),
        ("👩\u{200D}\u{200D}🚀", "👩🚀"),
        ("क्\u{200D}ष", "क्ष"),
        ("adm\u{200D}in", "admin"),
    ] {
        assert_eq!(name(raw), expected, "{raw:?}");
    }
    // The 64 end inside the family: no joiner is left hanging.
    let cut = name(&format!("{}👩\u{200D}👩", "x".repeat(62)));
    assert_eq!(cut, format!("{}👩", "x".repeat(62)));
}

#[test]
fn marks_do_not_pile_up() {
    let zalgo = format!("H{}e{}", "\u{30D}\u{311}\u{354}".repeat(20), "\u{489}".repeat(9));
    let marks = |text: &str| text.chars().filter(|c| is_combining_mark(*c)).count();
    assert_eq!((marks(&name(&zalgo)), name(&zalgo).starts_with('H')), (8, true));
    assert_eq!(
        name("a\u{327}\u{31B}\u{316}\u{317}"),
        "a\u{327}\u{31B}\u{316}\u{317}"
    );
}

#[test]
fn names_end_after_64_characters() {
    assert_eq!(name(&"é".repeat(64)), "é".repeat(64));
    assert_eq!(name(&"é".repeat(65)), "é".repeat(64));
    assert_eq!(name(&format!("{}x", " ".repeat(100))), "x");
    assert_eq!(name(&format!("{} y", "x".repeat(63))), "x".repeat(63));
    assert_eq!(name(&"𝒳".repeat(1_000_000)).chars().count(), 64);
}

#[test]
fn look_alikes_are_left_alone_because_identity_is_the_id() {
    assert_eq!(name("\u{430}dmin"), "\u{430}dmin");
}

/// Text made of what gives trouble: marks, joiners, emoji, Hangul parts, hidden characters, spaces.
fn troublesome() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>(),
        prop::sample::select(
            "aeZ \u{3000}\u{301}\u{327}\u{308}\u{344}\u{489}\u{93C}\u{9BE}\u{9C7}\u{200D}\u{200B}\u{202E}\u{FE0F}\u{338}\
             \u{1100}\u{1161}\u{11A8}\u{212B}👩🏽🚀❤↔\u{E0041}\n"
                .chars()
                .collect::<Vec<_>>()
        ),
    ];
    prop::collection::vec(piece, 0..100).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_name_obeys_its_rules_and_is_its_own_name(raw in troublesome()) {
        let Some(name) = display_name(&raw) else { return Ok(()) };
        prop_assert_eq!(display_name(&name), Some(name.clone()));
        prop_assert_eq!(name.nfc().collect::<String>(), name.as_str());
        prop_assert_eq!(name.trim(), name.as_str());
        prop_assert!((1..=64).contains(&name.chars().count()));
        prop_assert!(!name.chars().any(|c| c.is_control() || is_hidden(c)));
        let chars: Vec<char> = name.chars().collect();
        prop_assert!(!chars.windows(5).any(|w| w.iter().all(|c| is_combining_mark(*c))));
    }

    #[test]
    fn equivalent_spellings_are_one_name(raw in troublesome()) {
        let decomposed: String = raw.nfd().collect();
        let composed: String = raw.nfc().collect();
        // Joiners, selectors and hidden characters keep marks apart, so only text without them is compared.
        let apart = |c: char| c == ZERO_WIDTH_JOINER || c == EMOJI_FORM || is_hidden(c);
        if !raw.chars().any(apart) {
            prop_assert_eq!(display_name(&decomposed), display_name(&composed));
        }
    }
}

#[test]
fn avatars_are_plain_https_addresses() {
    let label = "a".repeat(63);
    for good in [
        "https://cdn.example/a.png",
        "https://cdn.example",
        "https://cdn.example:8443/a?b=c&d=%20#e",
        "https://1.2.3.4/x",
        "https://[2001:db8::1]/x",
        "https://[2001:db8::1]:443/x",
        "https://xn--bcher-kva.example/x",
        "https://localhost/x",
        "https://a_b.example/@user/x:y",
        "https://cdn.example/?u=a@b",
        &format!("https://{label}.example/"),
        &format!("https://cdn.example/{}", "a".repeat(492)),
    ] {
        assert_eq!(check_avatar(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "https://",
        "https:///x",
        "http://cdn.example/a.png",
        "HTTPS://cdn.example/x",
        "//cdn.example/x",
        "/x",
        "x",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https:cdn.example",
        "https:/cdn.example",
        " https://a.example",
        "https://user@cdn.example/",
        "https://user:pw@cdn.example/",
        "https://@cdn.example/",
        "https://good.example@evil.example/",
        "https://cdn.example\\@evil.example/",
        "https://cdn.example/a b",
        "https://cdn.example/a\nb",
        "https://cdn.example/\0",
        "https://cdn.example/\u{7F}",
        "https://cdn.example/é",
        "https://bücher.example/",
        "https://cdn.example/\"onerror=",
        "https://cdn.example/<script>",
        "https://cdn.example/`",
        "https://cdn.example/{x}",
        "https://cdn.example/^",
        "https://cdn.example/|",
        "https://cdn.example/\u{202E}",
        "https://cdn.example/%",
        "https://cdn.example/%2",
        "https://cdn.example/%zz",
        "https://cdn.example/#a#b",
        "https://cdn..example/",
        "https://.example/",
        "https://example./",
        "https://cdn.example:0/",
        "https://cdn.example:/",
        "https://cdn.example:65536/",
        "https://cdn.example:+1/",
        "https://cdn.example:8a/",
        "https://:443/",
        "https://[::1/",
        "https://::1/",
        "https://[::g]/",
        "https://[]/",
        "https://cdn.example/[x]",
        "https://cdn%2eexample/",
        "https://cdn.example?[",
        "https://a,b/",
        &format!("https://{label}a.example/"),
        &format!("https://{}/", ["a"; 128].join(".")),
        &format!("https://cdn.example/{}", "a".repeat(493)),
    ] {
        assert!(check_avatar(bad).is_err(), "{bad}");
    }
}
