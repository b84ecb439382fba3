//! What the scenarios share that are about QR logins, `qr` and `poll`: [`sockets`] brings WebSockets up as far as their
//! `hello`, [`phones`] scans and confirms over kept connections of HTTP, [`frame`] reads what a PC is told.

pub mod frame;
pub mod phones;
pub mod sockets;

use countersign_protocol::client::{Device, DeviceKind, QrOpen, QrRedeem};
use countersign_protocol::codec::command_json;

use crate::error::{Error, Result};
use crate::fleet::Dialect;

/// Refuses a dialect that has no QR logins.
pub fn speaks(dialect: Dialect) -> Result<()> {
    if dialect == Dialect::Countersign {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "this scenario is about QR logins, which --protocol {} does not know: it needs --protocol countersign",
        dialect.name()
    )))
}

/// The device a PC says it is; a connection has one.
pub fn device(run: u32, pc: usize) -> String {
    format!("lt-pc-{run:08x}-{pc:05}")
}

/// What a PC asks for, as a command or as the body of a request.
pub fn opening(device: &str) -> QrOpen<'_> {
    QrOpen {
        device: Device {
            id: device.into(),
            name: Some("load tester".into()),
            kind: DeviceKind::Pc,
        },
        public_key: None,
        dpop_jkt: None,
        client_id: None,
    }
}

/// The command `qr.open`.
pub fn open(id: u64, device: &str) -> Vec<u8> {
    command_json(id, "qr.open", &opening(device))
}

/// The command `qr.redeem`.
pub fn redeem(id: u64, qr_id: &str, claim: &str, ticket: &str) -> Vec<u8> {
    let fields = QrRedeem {
        qr_id: qr_id.into(),
        claim: claim.into(),
        ticket: ticket.into(),
    };
    command_json(id, "qr.redeem", &fields)
}
