//! The pictures of a code, read back by zbar: what a phone's camera would find in them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::path::{Path, PathBuf};

use common::qr::Pc;
use common::zbar::{codes_in, rasterise};
use common::{Answer, TestServer, request};
use tempfile::TempDir;

/// A gateway of this name, and what a PC there shows.
struct Shown {
    server: TestServer,
    qr_id: String,
    url: String,
    folder: TempDir,
}

impl Shown {
    async fn of(origin: Option<&str>) -> Self {
        let server = TestServer::start(|c| c.public_origin = origin.map(str::to_owned)).await;
        let mut pc = server.anonymous().await;
        let opened = pc
            .ok("qr.open", serde_json::json!({"device": {"id": "pc-1"}}))
            .await;
        let field = |name: &str| opened[name].as_str().unwrap().to_owned();
        Self {
            server,
            qr_id: field("qr_id"),
            url: field("url"),
            folder: TempDir::new().unwrap(),
        }
    }

    async fn get(&self, ending: &str) -> Answer {
        let path = format!("/v1/qr/{}{ending}", self.qr_id);
        request(self.server.addr, "GET", &path).send().await
    }

    fn keep(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn is_read_from(&self, picture: &Path) {
        assert_eq!(codes_in(picture), [self.url.as_str()], "{}", picture.display());
    }
}

/// Short and long origins: the code has more modules the longer its text.
const ORIGINS: [Option<&str>; 4] = [
    None,
    Some("http://192.168.1.20:8080"),
    Some("https://login.example"),
    Some("https://sign-in.a-department-with-a-long-name.of-an-organisation.with-a-longer-one.example:8443"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_png_is_read_at_every_size() {
    for origin in ORIGINS {
        let shown = Shown::of(origin).await;
        for size in [
            None,
            Some(128),
            Some(131),
            Some(200),
            Some(264),
            Some(528),
            Some(1024),
        ] {
            let query = size.map_or_else(String::new, |size| format!("?size={size}"));
            let answer = shown.get(&format!(".png{query}")).await;
            assert_eq!(
                (
                    answer.status,
                    answer.header("content-type"),
                    answer.header("cache-control")
                ),
                (200, Some("image/png"), Some("no-store"))
            );
            assert_eq!(&answer.body[..8], b"\x89PNG\r\n\x1a\n");
            let width = u32::from_be_bytes(answer.body[16..20].try_into().unwrap());
            assert_eq!(width, size.unwrap_or(512));
            assert_eq!(answer.body[24..26], [1, 0], "one bit of grey");
            shown.is_read_from(&shown.keep("code.png", &answer.body));
        }
        shown.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_svg_is_read_at_every_size() {
    for origin in ORIGINS {
        let shown = Shown::of(origin).await;
        let svg = shown.keep("code.svg", &shown.get(".svg").await.body);
        for width in [128, 200, 264, 333, 528, 1024] {
            let png = shown.folder.path().join("code.png");
            rasterise(&svg, width, &png);
            shown.is_read_from(&png);
        }
        shown.server.stop().await;
    }
}

/// As the SVG: of an id that nobody has it is drawn all the same, of what is no id it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_tells_nothing_and_has_bounds() {
    let server = TestServer::start(|_| {}).await;
    let get = |path: &str| request(server.addr, "GET", path).send();
    let unknown = "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA";
    for (path, status) in [
        (format!("{unknown}.png"), 200),
        (format!("{unknown}.png?size=128"), 200),
        (format!("{unknown}.png?size=1024"), 200),
        (format!("{unknown}.png?size=127"), 400),
        (format!("{unknown}.png?size=1025"), 400),
        (format!("{unknown}.png?size=-1"), 400),
        (format!("{unknown}.png?size=512px"), 400),
        (format!("{unknown}.png?size="), 400),
        (format!("{unknown}.png?size=300&size=400"), 400),
        (format!("{unknown}.svg?size=5"), 200),
        (format!("{unknown}.gif"), 404),
        (format!("{unknown}.png.svg"), 404),
        (format!("{unknown}."), 404),
        (format!("{unknown}?size=5"), 404),
        ("/v1/qr/nonsense.png".to_owned(), 404),
        ("/v1/qr/.png".to_owned(), 404),
    ] {
        let answer = get(&path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        if status == 400 {
            assert!(answer.text().contains("128 to 1024"), "{path}: {}", answer.text());
        }
    }
    let known = Pc::open(&server).await.qr_id;
    let lengths = |answer: &Answer| answer.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    let (known, unknown) = (
        get(&format!("/v1/qr/{known}.png")).await,
        get(&format!("{unknown}.png")).await,
    );
    assert_eq!(lengths(&known), lengths(&unknown));
    server.stop().await;
}
