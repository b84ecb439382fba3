//! Asks a running gateway whether it is well: what a container's health check runs.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Time for each step of asking.
const STEP: Duration = Duration::from_secs(3);
/// As much of an answer as is read.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether it answers: `/healthz`.
    Alive,
    /// Whether it takes new connections: `/readyz`, which turns false first when it leaves.
    Ready,
}

/// Asks on the operator's port.
///
/// # Errors
/// In words, unless the answer is 200.
pub fn ask(operator: SocketAddr, question: Question) -> Result<(), String> {
    if operator.port() == 0 {
        return Err("operator_listen has port 0, which the system picks: say the port to ask".to_owned());
    }
    let address = SocketAddr::new(reachable(operator.ip()), operator.port());
    let path = match question {
        Question::Alive => "/healthz",
        Question::Ready => "/readyz",
    };
    let status = status(address, path).map_err(|e| format!("http://{address}{path} does not answer: {e}"))?;
    match status.as_str() {
        "200" => Ok(()),
        other => Err(format!("http://{address}{path} answers {other}")),
    }
}

/// Who listens on all addresses is reached on this machine's own.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn status(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, STEP)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer);
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(version), Some(status)) if version.starts_with("HTTP/1.") => Ok(status.to_owned()),
        _ => Err(io::Error::other("the answer is no HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server with one answer.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_200_is_well() {
        let good = answering("HTTP/1.1 200 OK\r\n\r\nok\n");
        assert_eq!(
            ask(SocketAddr::new([0, 0, 0, 0].into(), good.port()), Question::Alive),
            Ok(())
        );
        let draining = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        let told = ask(draining, Question::Ready).unwrap_err();
        assert!(told.ends_with("/readyz answers 503"), "{told}");
        for odd in ["SSH-2.0-x\r\n", ""] {
            assert!(
                ask(answering(odd), Question::Alive)
                    .unwrap_err()
                    .contains("no HTTP")
            );
        }
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(
            ask(gone, Question::Alive)
                .unwrap_err()
                .contains("does not answer")
        );
        assert!(
            ask("127.0.0.1:0".parse().unwrap(), Question::Alive)
                .unwrap_err()
                .contains("port 0")
        );
    }
}
