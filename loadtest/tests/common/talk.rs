//! What all servers in miniature do alike: a port with a thread for each connection, HTTP until an upgrade, accounts,
//! the first frame, and the frames of a client out of their bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use countersign_loadtest::engine::upgrade::header;
use countersign_protocol::codec::{Header, Opcode, text_frame};
use countersign_protocol::http::{AccountCreated, Login, NewAccount, Tokens};
use countersign_protocol::id::UserId;
use countersign_protocol::server::{Hello, HelloLimits, Profile};

/// A port of the system's choosing with a thread for each connection; they end with the process.
pub(crate) fn listen<S: Send + Sync + 'static>(
    shared: &Arc<S>,
    serve: fn(&S, TcpStream) -> Option<()>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let for_clients = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&for_clients);
            std::thread::spawn(move || serve(&shared, stream));
        }
    });
    addr
}

/// A connection on which requests were answered until there was one for a WebSocket, with the head of that.
pub(crate) struct Asked {
    pub reader: BufReader<TcpStream>,
    pub out: TcpStream,
    pub head: String,
}

/// Answers requests, of which `answer` gets head, path and body, until there is one for a WebSocket. `None`: the
/// connection is over.
pub(crate) fn http(
    stream: TcpStream,
    mut answer: impl FnMut(&str, &str, &[u8]) -> Option<(u16, String)>,
) -> Option<Asked> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut out = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let path = head.split(' ').nth(1)?;
        if path == "/v1/ws" {
            return Some(Asked { reader, out, head });
        }
        let mut body = vec![0; header(&head, "content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let (status, answer) = answer(&head, path, &body)?;
        let length = answer.len();
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{answer}");
        out.write_all(answer.as_bytes()).ok()?;
    }
}

/// Makes any account, and signs anybody in with the token that `token` makes.
pub(crate) fn account(
    path: &str,
    body: &[u8],
    token: impl FnOnce(&Login) -> String,
) -> Option<(u16, String)> {
    let profile = |user: &str| Profile {
        id: UserId::parse(user).unwrap(),
        name: None,
        avatar: None,
    };
    match path {
        "/v1/accounts" => {
            let new: NewAccount = serde_json::from_slice(body).ok()?;
            let user = profile(&new.user_id);
            Some((201, serde_json::to_string(&AccountCreated { user }).ok()?))
        }
        "/v1/login" => {
            let login: Login = serde_json::from_slice(body).ok()?;
            let tokens = Tokens {
                access_token: token(&login),
                token_type: "Bearer".to_owned(),
                expires_in_ms: 900_000,
                refresh_token: "r".to_owned(),
                user: profile(&login.user_id),
                session: "s_1".to_owned(),
            };
            Some((200, serde_json::to_string(&tokens).ok()?))
        }
        _ => Some((404, "{}".to_owned())),
    }
}

/// The first frame of a connection of this name.
pub(crate) fn hello(connection: String) -> Vec<u8> {
    text_frame(&Hello {
        protocol: 1,
        connection,
        ping_interval_ms: 25_000,
        limits: HelloLimits {
            frame_bytes_max: 65_536,
            body_bytes_max: 16_384,
            subscriptions_max: 128,
            like_max: 100,
        },
    })
}

/// Hands each payload on; a close ends it.
pub(crate) fn frames(reader: &mut impl Read, mut take: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    loop {
        while let Some(header) = Header::parse(&bytes).ok()? {
            let end = header.len + usize::try_from(header.payload).ok()?;
            if bytes.len() < end {
                break;
            }
            let key = header.mask?;
            let payload = bytes[header.len..end].iter().enumerate();
            let payload: Vec<u8> = payload.map(|(i, b)| b ^ key[i & 3]).collect();
            bytes.drain(..end);
            match header.opcode {
                Opcode::Text | Opcode::Binary => take(&payload)?,
                Opcode::Close => return None,
                _ => {}
            }
        }
        let n = reader.read(&mut chunk).ok()?;
        if n == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..n]);
    }
}
