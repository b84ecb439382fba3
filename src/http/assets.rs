//! The pages and the JavaScript client, embedded into the binary.

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::ErrorCode;

use super::error::HttpError;
use super::extract::Segment;
use crate::node::{Node, Refusal};

/// Scripts, styles and connections of our own only; nobody may frame a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The console has pictures of its own only.
const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Media type, content.
type File = (&'static str, &'static str);

macro_rules! files {
    ($(#[$doc:meta])* $table:ident: $( $name:literal, $kind:literal; )*) => {
        $(#[$doc])*
        const $table: &[(&str, &str, &str)] = &[
            $( ($name, $kind, include_str!(concat!("../../web/", $name))), )*
        ];
    };
}

files! {
    /// Name under `/assets/`, media type, content.
    FILES:
    "client.js", "text/javascript; charset=utf-8";
    "client/attempt.js", "text/javascript; charset=utf-8";
    "client/channel.js", "text/javascript; charset=utf-8";
    "client/connection.js", "text/javascript; charset=utf-8";
    "client/device.js", "text/javascript; charset=utf-8";
    "client/emitter.js", "text/javascript; charset=utf-8";
    "client/error.js", "text/javascript; charset=utf-8";
    "client/events.js", "text/javascript; charset=utf-8";
    "client/http.js", "text/javascript; charset=utf-8";
    "client/id.js", "text/javascript; charset=utf-8";
    "client/line.js", "text/javascript; charset=utf-8";
    "client/lookout.js", "text/javascript; charset=utf-8";
    "client/qr-login.js", "text/javascript; charset=utf-8";
    "client/room.js", "text/javascript; charset=utf-8";
    "client/session.js", "text/javascript; charset=utf-8";
    "client/transport.js", "text/javascript; charset=utf-8";
    "client/watch-news.js", "text/javascript; charset=utf-8";
    "confirm.html", "text/html; charset=utf-8";
    "confirm.js", "text/javascript; charset=utf-8";
    "icon.svg", "image/svg+xml";
    "index.html", "text/html; charset=utf-8";
    "index.js", "text/javascript; charset=utf-8";
    "page/account-form.js", "text/javascript; charset=utf-8";
    "page/calls.js", "text/javascript; charset=utf-8";
    "page/copies.js", "text/javascript; charset=utf-8";
    "page/countdown.js", "text/javascript; charset=utf-8";
    "page/decide.js", "text/javascript; charset=utf-8";
    "page/devices.js", "text/javascript; charset=utf-8";
    "page/dom.js", "text/javascript; charset=utf-8";
    "page/language.js", "text/javascript; charset=utf-8";
    "page/members.js", "text/javascript; charset=utf-8";
    "page/new-devices.js", "text/javascript; charset=utf-8";
    "page/other-tabs.js", "text/javascript; charset=utf-8";
    "page/outcome.js", "text/javascript; charset=utf-8";
    "page/reach.js", "text/javascript; charset=utf-8";
    "page/result.js", "text/javascript; charset=utf-8";
    "page/room.js", "text/javascript; charset=utf-8";
    "page/session-store.js", "text/javascript; charset=utf-8";
    "page/sign-in.js", "text/javascript; charset=utf-8";
    "page/store.js", "text/javascript; charset=utf-8";
    "page/type-code.js", "text/javascript; charset=utf-8";
    "page/user-code.js", "text/javascript; charset=utf-8";
    "qr.css", "text/css; charset=utf-8";
    "strings.js", "text/javascript; charset=utf-8";
    "strings/en.js", "text/javascript; charset=utf-8";
    "strings/zh.js", "text/javascript; charset=utf-8";
    "style.css", "text/css; charset=utf-8";
}

files! {
    /// The same for what is served on the operator's port alone, under `/admin/assets/`.
    CONSOLE:
    "console/charts.js", "text/javascript; charset=utf-8";
    "console/console.css", "text/css; charset=utf-8";
    "console/console.js", "text/javascript; charset=utf-8";
    "console/figures.js", "text/javascript; charset=utf-8";
    "console/index.html", "text/html; charset=utf-8";
    "console/gateway.js", "text/javascript; charset=utf-8";
    "console/strings.js", "text/javascript; charset=utf-8";
    "console/strings/en.js", "text/javascript; charset=utf-8";
    "console/strings/zh.js", "text/javascript; charset=utf-8";
    "console/tables.js", "text/javascript; charset=utf-8";
}
/// Of these only the demo page makes use; without it they are not served.
const OF_THE_DEMO: &[&str] = &[
    "index.html",
    "index.js",
    "page/countdown.js",
    "page/members.js",
    "page/new-devices.js",
    "page/reach.js",
    "page/room.js",
    "page/sign-in.js",
];

/// The confirm page without its links to the demo page.
static CONFIRM_ALONE: LazyLock<String> = LazyLock::new(|| {
    let whole = FILES.iter().find(|(name, _, _)| *name == CONFIRM);
    whole
        .map_or("", |(_, _, content)| content)
        .replace(" href=\"/\"", "")
});

const CONFIRM: &str = "confirm.html";

pub(super) async fn index(State(_): State<Arc<Node>>) -> Response {
    page("index.html", true)
}

/// The confirm page. Opening it changes nothing, so it is the same for every id, and without one: then a code is
/// typed on it.
pub(super) async fn confirm(State(node): State<Arc<Node>>) -> Response {
    page(CONFIRM, node.config().demo)
}

pub(super) async fn asset(State(node): State<Arc<Node>>, Segment(path): Segment) -> Response {
    page(&path, node.config().demo)
}

/// A file of the console, or one that it shares with the pages of the public port.
pub(super) fn console(name: &str) -> Response {
    let found = file(CONSOLE, name).or_else(|| file(FILES, name));
    found.map_or_else(nowhere, |found| {
        let mut response = answer(found, CONSOLE_POLICY);
        let headers = response.headers_mut();
        let set = |name, value| (name, HeaderValue::from_static(value));
        headers.extend([
            set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // A browser asks over several sockets and keeps them: of the few that the port has, one page would hold many.
            set(header::CONNECTION, "close"),
        ]);
        response
    })
}

fn file(files: &[(&str, &'static str, &'static str)], name: &str) -> Option<File> {
    let found = files.iter().find(|(known, _, _)| *known == name);
    found.map(|(_, kind, content)| (*kind, *content))
}

fn nowhere() -> Response {
    HttpError(Refusal::new(ErrorCode::NotFound, "no such page")).into_response()
}

fn answer((kind, content): File, policy: &'static str) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, content).into_response()
}

fn page(name: &str, demo: bool) -> Response {
    let served = demo || !OF_THE_DEMO.contains(&name);
    let Some((kind, content)) = file(FILES, name).filter(|_| served) else {
        return nowhere();
    };
    let content: &'static str = match (name, demo) {
        (CONFIRM, false) => &CONFIRM_ALONE,
        _ => content,
    };
    let mut response = answer((kind, content), POLICY);
    if kind.starts_with("text/javascript") {
        // The client is for pages of other sites too: it is public, and answers nobody in particular.
        let anybody = HeaderValue::from_static("*");
        response
            .headers_mut()
            .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Files of `web/` that browsers load.
    fn on_disk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                on_disk(&entry.path(), &format!("{name}/"), found);
            } else if [".html", ".js", ".css", ".svg"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                found.push(name);
            }
        }
    }

    #[test]
    fn without_the_demo_nothing_leads_to_it() {
        for name in OF_THE_DEMO {
            assert!(FILES.iter().any(|(n, _, _)| n == name), "{name}");
        }
        let left = FILES.iter().filter(|(name, _, _)| !OF_THE_DEMO.contains(name));
        for (name, _, content) in left.filter(|(name, _, _)| name.ends_with(".js")) {
            for gone in OF_THE_DEMO {
                let from = match (name.strip_prefix("page/"), gone.strip_prefix("page/")) {
                    (Some(_), Some(sibling)) => format!("'./{sibling}'"),
                    (Some(_), None) => format!("'../{gone}'"),
                    (None, _) => format!("'./{gone}'"),
                };
                assert!(!content.contains(&from), "{name} imports {gone}");
            }
        }
        let whole = FILES.iter().find(|(name, _, _)| *name == CONFIRM).unwrap().2;
        assert!(whole.contains("href=\"/\"") && !CONFIRM_ALONE.contains("href=\"/\""));
    }

    #[test]
    fn every_file_is_served() {
        let mut found = Vec::new();
        on_disk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web"), "", &mut found);
        found.sort();
        let all = FILES.iter().chain(CONSOLE);
        let mut served: Vec<_> = all.map(|(name, _, _)| (*name).to_owned()).collect();
        served.sort();
        assert_eq!(served, found);
    }
}
