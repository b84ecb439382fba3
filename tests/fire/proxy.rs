//! A line between a client and the gateway that fails as planned, and remembers every byte that came over it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::plan::{Direction, Fault, Plan, Planned};
use super::units::Splitter;

/// How long a half-open connection stays so before the line ends it.
const HELD: Duration = Duration::from_secs(3);

/// What was said on one connection, without framing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Stream {
    /// By the client, as far as the gateway was given it.
    pub(crate) sent: Vec<u8>,
    /// By the gateway, whether or not the client was given it.
    pub(crate) received: Vec<u8>,
}

type Streams = Arc<Mutex<Vec<Arc<Mutex<Stream>>>>>;

/// A line. It ends with this.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    streams: Streams,
    faults: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(gateway: SocketAddr, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let streams = Streams::default();
        let faults = Arc::<AtomicUsize>::default();
        let (kept, counted) = (Arc::clone(&streams), Arc::clone(&faults));
        let serving = tokio::spawn(async move {
            // They end with this task.
            let mut lines = JoinSet::new();
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                let planned = plan.of(number);
                number += 1;
                let happened = Arc::clone(&counted);
                lines.spawn(line(client, gateway, planned, Arc::clone(&kept), happened));
                while lines.try_join_next().is_some() {}
            }
        });
        Self {
            addr,
            streams,
            faults,
            serving,
        }
    }

    /// Faults that have happened; one that was planned for a unit that never came has not.
    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    /// Everything that was said so far, connection by connection.
    pub(crate) fn streams(&self) -> Vec<Stream> {
        let streams = self.streams.lock().unwrap();
        streams.iter().map(|s| s.lock().unwrap().clone()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Why nothing passes any more.
enum Broken {
    Cut,
    HalfOpen,
}

fn begin(streams: &Streams) -> Arc<Mutex<Stream>> {
    let stream = Arc::<Mutex<Stream>>::default();
    streams.lock().unwrap().push(Arc::clone(&stream));
    stream
}

async fn line(
    mut client: TcpStream,
    gateway: SocketAddr,
    planned: Option<Planned>,
    streams: Streams,
    faults: Arc<AtomicUsize>,
) {
    let Ok(mut upstream) = TcpStream::connect(gateway).await else {
        return;
    };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let stream = begin(&streams);
    let way = |direction| Way {
        direction,
        planned: planned.filter(|p| p.direction == direction),
        stream: Arc::clone(&stream),
        gateway,
        streams: Arc::clone(&streams),
        faults: Arc::clone(&faults),
    };
    let (from_client, to_client) = client.split();
    let (from_gateway, to_gateway) = upstream.split();
    let ended = tokio::try_join!(
        way(Direction::ToGateway).carry(from_client, to_gateway),
        way(Direction::ToClient).carry(from_gateway, to_client),
    );
    if matches!(ended, Err(Broken::HalfOpen)) {
        tokio::time::sleep(HELD).await;
    }
}

/// One direction of a connection.
struct Way {
    direction: Direction,
    planned: Option<Planned>,
    stream: Arc<Mutex<Stream>>,
    gateway: SocketAddr,
    streams: Streams,
    faults: Arc<AtomicUsize>,
}

impl Way {
    async fn carry(self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
        let mut splitter = Splitter::new(self.direction == Direction::ToGateway);
        let mut number = 0;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            while let Some(unit) = splitter.next() {
                let fault = self.planned.filter(|p| p.unit == number).map(|p| p.fault);
                number += 1;
                self.faults
                    .fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
                let (before, after) = self.suffer(fault, &unit.wire).await?;
                if self.direction == Direction::ToClient {
                    self.stream.lock().unwrap().received.extend_from_slice(&unit.says);
                }
                if before == 0 {
                    return Err(Broken::Cut);
                }
                if self.direction == Direction::ToGateway && before == unit.wire.len() {
                    self.stream.lock().unwrap().sent.extend_from_slice(&unit.says);
                }
                if fault == Some(Fault::Duplicate) && unit.is_request {
                    tokio::spawn(again(
                        self.gateway,
                        unit.wire.clone(),
                        unit.says,
                        begin(&self.streams),
                    ));
                }
                to.write_all(&unit.wire[..before])
                    .await
                    .map_err(|_| Broken::Cut)?;
                if after == After::Cut {
                    return Err(Broken::Cut);
                }
            }
            match from.read(&mut buffer).await {
                Ok(0) => break,
                Ok(n) => splitter.push(&buffer[..n]),
                Err(_) => return Err(Broken::Cut),
            }
        }
        let rest = splitter.rest();
        if self.direction == Direction::ToClient {
            self.stream.lock().unwrap().received.extend_from_slice(&rest);
        }
        to.write_all(&rest).await.map_err(|_| Broken::Cut)?;
        to.shutdown().await.map_err(|_| Broken::Cut)
    }

    /// How many bytes of a unit pass, and whether anything does afterwards.
    async fn suffer(&self, fault: Option<Fault>, wire: &[u8]) -> Result<(usize, After), Broken> {
        Ok(match fault {
            None | Some(Fault::Duplicate) => (wire.len(), After::GoOn),
            Some(Fault::CutBefore) => (0, After::Cut),
            Some(Fault::CutInside) => (wire.len() / 2, After::Cut),
            Some(Fault::CutAfter) => (wire.len(), After::Cut),
            Some(Fault::Delay(span)) => {
                tokio::time::sleep(span).await;
                (wire.len(), After::GoOn)
            }
            Some(Fault::HalfOpen) => return Err(Broken::HalfOpen),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    GoOn,
    Cut,
}

/// The same request once more. What comes of it is remembered, and given to nobody.
async fn again(gateway: SocketAddr, wire: Vec<u8>, says: Vec<u8>, stream: Arc<Mutex<Stream>>) {
    let Ok(mut upstream) = TcpStream::connect(gateway).await else {
        return;
    };
    stream.lock().unwrap().sent = says;
    if upstream.write_all(&wire).await.is_ok() {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(HELD, upstream.read_to_end(&mut answer)).await;
        stream.lock().unwrap().received = answer;
    }
}
