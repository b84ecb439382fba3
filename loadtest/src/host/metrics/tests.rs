use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::SECOND;
use crate::target::Remote;

/// Answers each request with the next text, the last one for ever; an empty one is no answer at all.
fn serve(texts: &[String]) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let texts = texts.to_vec();
    std::thread::spawn(move || {
        let mut next = 0;
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some(head) = request(&mut reader) {
                assert!(
                    head.starts_with("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:"),
                    "{head}"
                );
                let text = &texts[next.min(texts.len() - 1)];
                next += 1;
                if text.is_empty() {
                    wait_for_the_end(&stream);
                    break;
                }
                if (&stream).write_all(text.as_bytes()).is_err() || text.contains("connection: close") {
                    break;
                }
            }
        }
    });
    Target::metrics(&url, Remote::Refused).unwrap()
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn wait_for_the_end(mut stream: &TcpStream) {
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn body(cpu: f64, memory: u64, started: u64) -> String {
    format!(
        "process_cpu_seconds_total {cpu}\nprocess_resident_memory_bytes {memory}\nprocess_start_time_seconds {started}\n"
    )
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn figures_are_asked_for_again_and_again() {
    let close = ok(&body(2.0, 6_000, 9)).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let target = serve(&[ok(&body(1.5, 5_000, 9)), close, ok(&body(2.5, 7_000, 9))]);
    let reader = Reader::start(target).unwrap();
    let first = reader.newest().unwrap();
    assert_eq!(first.memory_bytes(), 5_000);
    assert!(first.is_fresh(first.asked_at + FRESH - 1) && !first.is_fresh(first.asked_at + FRESH));
    let second = reader.ask().wait().unwrap();
    assert_eq!(second.memory_bytes(), 6_000);
    let span = second.since(&first).unwrap();
    assert_eq!((span.cpu, span.source), (SECOND / 2, CpuSource::Metrics));
    assert_eq!((span.waiting, span.busiest), (None, None));
    assert!(span.error.unwrap() >= CUT && span.wall == second.asked_at - first.asked_at);
    // The server has closed the connection in between, and nobody waits for this one.
    reader.look();
    let until = clock::now() + 60 * SECOND;
    while reader.newest().unwrap().memory_bytes() != 7_000 {
        assert!(clock::now() < until);
        std::thread::yield_now();
    }
}

/// A gateway that always uses two cores.
fn busy() -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let began = clock::now();
        while request(&mut reader).is_some() {
            let cpu = 2.0 * clock::seconds(clock::now() - began);
            stream.write_all(ok(&body(cpu, 5_000, 9)).as_bytes()).unwrap();
        }
    });
    Target::metrics(&url, Remote::Refused).unwrap()
}

#[test]
fn the_figures_are_of_a_moment_between_question_and_answer() {
    let reader = Reader::start(busy()).unwrap();
    let first = reader.newest().unwrap();
    for _ in 0..20 {
        let now = reader.ask().wait().unwrap();
        let cpu = now.since(&first).unwrap().cpu;
        let least = 2 * now.asked_at.saturating_sub(first.answered_at);
        let most = 2 * (now.answered_at - first.asked_at);
        // To a nanosecond's rounding.
        assert!(cpu + 2 >= least && cpu <= most + 2, "{least} {cpu} {most}");
    }
}

#[test]
fn asking_takes_time_in_which_the_gateway_works() {
    let sample = |asked_at, answered_at, cpu_seconds| Sample {
        asked_at,
        answered_at,
        figures: Figures {
            cpu_seconds,
            memory_bytes: 1.0,
            started: None,
        },
    };
    let (before, after) = (sample(0, 50 * MILLI, 1.0), sample(SECOND, 1_150 * MILLI, 3.0));
    let span = after.since(&before).unwrap();
    // Two cores, and 200 ms of which nobody knows whether they are in.
    assert_eq!(span.error, Some(CUT + 400 * MILLI));
    assert!((span.cores() - 2.0).abs() < 1e-9);
    assert!(
        before
            .since(&after)
            .unwrap_err()
            .to_string()
            .contains("started anew")
    );
}

#[test]
fn a_gateway_that_was_started_anew_is_noticed() {
    let target = serve(&[ok(&body(1.0, 5_000, 9)), ok(&body(1.5, 5_000, 10))]);
    let reader = Reader::start(target).unwrap();
    let first = reader.newest().unwrap();
    let error = reader
        .ask()
        .wait()
        .unwrap()
        .since(&first)
        .unwrap_err()
        .to_string();
    assert!(error.contains("started anew"), "{error}");
}

#[test]
fn what_cannot_be_had_is_an_error_and_not_zero() {
    let long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        crate::http::ANSWER_BYTES_MAX + 1
    );
    for (text, why) in [
        (ok("hello"), "there is no process_cpu_seconds_total"),
        (long, "too long"),
        ("SSH-2.0-x\r\n\r\n".to_owned(), "not HTTP/1.1"),
        (
            "HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy".to_owned(),
            "status 503 busy",
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nhal".to_owned(),
            "",
        ),
    ] {
        let error = Reader::start(serve(std::slice::from_ref(&text)))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("GET http://127.0.0.1:"), "{error}");
        assert!(error.contains(why), "{text}: {error}");
    }
    let nobody = Target::metrics("http://127.0.0.1:1", Remote::Refused).unwrap();
    assert!(Reader::start(nobody).is_err());
}

#[test]
fn an_answer_that_does_not_come_or_not_to_its_end_is_given_up() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nprocess".to_owned();
    for text in [String::new(), half] {
        let target = serve(&[text]);
        let error = Reader::patient_for(target, Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("no whole answer in time"), "{error}");
    }
}

#[test]
fn a_gateway_that_goes_away_is_an_error_of_the_span() {
    let bad = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned();
    let reader = Reader::start(serve(&[ok(&body(1.0, 5_000, 9)), bad])).unwrap();
    assert!(reader.ask().wait().is_err());
    // No old figure is told as a new one.
    assert!(reader.newest().is_err() && reader.now().is_err());
}
