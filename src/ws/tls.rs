//! The TLS handshake of an accepted socket: bounded in time, and told apart from HTTP without TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::close;
use super::stream::Stream;

/// Encrypted bytes that wait inside TLS for a peer that does not read: one record. What is there has left the outbox,
/// so more would only hide a slow reader.
const TLS_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// The first byte of every TLS connection: the type of the record with the client's greeting.
const HANDSHAKE_RECORD: u8 = 0x16;
/// For a client that forgot the s.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 45\r\n\
    Connection: close\r\n\
    \r\n\
    this port speaks TLS: use https:// or wss://\n";

/// Carries out the handshake. `None`: there is none within `patience`, or the peer wanted something else, which it
/// has been told.
pub(super) async fn accept(
    stream: TcpStream,
    server: Arc<ServerConfig>,
    patience: Duration,
) -> Option<Stream> {
    match tokio::time::timeout(patience, handshake(stream, server)).await {
        Ok(Handshake::Done(stream)) => Some(Stream::Other(stream)),
        Ok(Handshake::Plain(mut stream)) => {
            tracing::debug!("a client spoke to the TLS port without TLS");
            if let Ok(Ok(())) = tokio::time::timeout(patience, stream.write_all(PLAIN_ANSWER)).await {
                close::linger(Stream::Tcp(stream)).await;
            }
            None
        }
        Ok(Handshake::Failed(stream, error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            // The alert that says why is on its way: closing with bytes unread would overtake it.
            close::linger(Stream::Tcp(stream)).await;
            None
        }
        Ok(Handshake::Gone) => None,
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

enum Handshake {
    Done(Box<TlsStream<TcpStream>>),
    /// What came is no TLS.
    Plain(TcpStream),
    Failed(TcpStream, std::io::Error),
    Gone,
}

async fn handshake(stream: TcpStream, server: Arc<ServerConfig>) -> Handshake {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first == [HANDSHAKE_RECORD] => {}
        Ok(1) => return Handshake::Plain(stream),
        _ => return Handshake::Gone,
    }
    let accepted = TlsAcceptor::from(server)
        .accept_with(stream, |tls| tls.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX)))
        .into_fallible();
    match accepted.await {
        Ok(stream) => Handshake::Done(Box::new(stream)),
        Err((error, stream)) => Handshake::Failed(stream, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_without_tls_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{}",
            body.len()
        );
    }
}
