use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use super::*;
use crate::ops::ids::{RequestId, in_connection, in_request};

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn written(format: LogFormat, log: impl FnOnce()) -> String {
    let written = Written::default();
    let lines = layer().event_format(format).with_writer(written.clone());
    tracing::subscriber::with_default(registry().with(lines), log);
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// The only line, in both formats; of the pretty one what follows the time.
fn both(log: impl Fn()) -> (String, Value) {
    let [pretty, json] = [LogFormat::Pretty, LogFormat::Json].map(|format| {
        let text = written(format, &log);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.ends_with('\n'));
        assert!(!text.trim_end().chars().any(is_escaped), "{text:?}");
        text.trim_end().to_owned()
    });
    let (time, rest) = pretty.split_at(27);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{pretty}");
    (rest.to_owned(), serde_json::from_str(&json).unwrap())
}

#[test]
fn fields_keep_their_names_and_kinds() {
    let (pretty, json) = both(|| {
        let error = io::Error::other("it \"broke\"");
        tracing::warn!(
            target: "countersign::auth",
            user = "alice", n = 3_u64, less = -3_i64, ratio = 0.5, odd = f64::NAN, yes = true,
            none = None::<&str>, %error, list = ?[1, 2],
            "sign-in {}", "refused"
        );
    });
    assert_eq!(
        pretty,
        "  WARN countersign::auth: sign-in refused user=\"alice\" n=3 less=-3 ratio=0.5 odd=NaN yes=true \
         error=it \"broke\" list=[1, 2]"
    );
    let mut json = json;
    let time = json.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
    assert_eq!(
        json,
        serde_json::json!({
            "level": "WARN", "target": "countersign::auth", "message": "sign-in refused", "user": "alice",
            "n": 3, "less": -3, "ratio": 0.5, "odd": "NaN", "yes": true, "error": "it \"broke\"", "list": "[1, 2]"
        })
    );
}

/// Threat 42: nothing that a client wrote ends a line, speaks to a terminal, or fills the log.
#[test]
fn whatever_is_in_a_value_a_line_stays_one_and_short() {
    let hostile = [
        "a\r\nINFO countersign: all is well".to_owned(),
        "\x1b[2J\x1b[31mred\x07".to_owned(),
        "\"}\n{\"level\":\"ERROR\"".to_owned(),
        "\\\" \\".to_owned(),
        "\u{202e}gnp.exe\u{2028}\u{200b}\u{feff}\u{85}\0".to_owned(),
        "n".repeat(1 << 20),
        "\u{1}".repeat(1 << 20),
        "ä".repeat(1 << 19),
    ];
    for value in &hostile {
        let cut = value.floor_char_boundary(VALUE_BYTES_MAX);
        let mut kept = value[..cut].to_owned();
        kept.extend((cut < value.len()).then_some('…'));
        let (pretty, json) = both(|| tracing::info!(quoted = value.as_str(), shown = %value, "{value}"));
        for field in ["quoted", "shown", "message"] {
            assert_eq!(json[field], kept, "{field}");
        }
        // Each byte becomes six at most.
        assert!(pretty.len() < 3 * 6 * VALUE_BYTES_MAX + 200);
    }
}

#[tokio::test]
async fn lines_say_what_they_belong_to() {
    let (pretty, json) = in_connection(0x2a, || both(|| tracing::info!("a word")));
    assert!(
        pretty.ends_with(": a word connection=c_000000000000002a"),
        "{pretty}"
    );
    assert_eq!(json["connection"], "c_000000000000002a");
    let id = RequestId::parse("r_1-2").unwrap();
    let (pretty, json) = in_request(id, async { both(|| tracing::info!("a word")) }).await;
    assert!(pretty.ends_with(": a word request=r_1-2"), "{pretty}");
    assert_eq!(json["request"], "r_1-2");
}

#[test]
fn the_format_is_chosen_by_name_or_by_who_reads() {
    use LogFormat::{Json, Pretty};
    for (asked, terminal, chosen) in [
        (None, true, Pretty),
        (None, false, Json),
        (Some(""), true, Pretty),
        (Some("auto"), false, Json),
        (Some("pretty"), false, Pretty),
        (Some("json"), true, Json),
    ] {
        assert_eq!(LogFormat::choose(asked, terminal), Ok(chosen), "{asked:?}");
    }
    let told = LogFormat::choose(Some("xml"), true).unwrap_err();
    assert!(
        told.contains("\"xml\"") && told.contains("pretty, json or auto"),
        "{told}"
    );
}
