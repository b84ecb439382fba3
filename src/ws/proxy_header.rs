//! Reads the PROXY header in front of a connection's bytes, and not one byte more: what follows is TLS or HTTP.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::core::proxy_protocol::{
    self, FIXED_BYTES, HeaderError, LINE_BYTES_MAX, Origin, SIGNATURE, Version,
};

/// Whose connection it is. `None`: the header does not come within `patience`, or is none.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), patience: Duration) -> Option<Origin> {
    match tokio::time::timeout(patience, header(stream)).await {
        Ok(Ok(Ok(origin))) => Some(origin),
        Ok(Ok(Err(error))) => {
            tracing::debug!(%error, "a listed proxy sent no PROXY header that can be read, and was closed");
            None
        }
        Ok(Err(_)) => None,
        Err(_) => {
            tracing::debug!("a listed proxy's PROXY header took too long");
            None
        }
    }
}

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Origin, HeaderError>> {
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    match proxy_protocol::version(first) {
        Ok(Version::One) => line(stream, &first).await,
        Ok(Version::Two) => binary(stream, first).await,
        Err(e) => Ok(Err(e)),
    }
}

/// Byte by byte, as nothing says how long it is: whoever has many connections writes version 2.
async fn line(
    stream: &mut (impl AsyncRead + Unpin),
    first: &[u8],
) -> io::Result<Result<Origin, HeaderError>> {
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    line.extend_from_slice(first);
    while !line.ends_with(b"\r\n") && line.len() < LINE_BYTES_MAX {
        line.push(stream.read_u8().await?);
    }
    Ok(proxy_protocol::line(&line))
}

async fn binary(
    stream: &mut (impl AsyncRead + Unpin),
    first: [u8; SIGNATURE.len()],
) -> io::Result<Result<Origin, HeaderError>> {
    let mut fixed = [0; FIXED_BYTES];
    let (head, rest) = fixed.split_at_mut(SIGNATURE.len());
    head.copy_from_slice(&first);
    stream.read_exact(rest).await?;
    let length = match proxy_protocol::variable_bytes(fixed) {
        Ok(length) => length,
        Err(e) => return Ok(Err(e)),
    };
    let mut variable = vec![0; length];
    stream.read_exact(&mut variable).await?;
    Ok(proxy_protocol::binary(fixed, &variable))
}
