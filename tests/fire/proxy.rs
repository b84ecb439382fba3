//! A line between a client and the gateway that fails as planned, and remembers every byte that came over it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::common::PATIENCE;
use super::plan::{Direction, Fault, Plan, Planned};
use super::twice::{Double, Doubles, Entry};
use super::units::{Repeat, Splitter, Unit};

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

/// What a line remembers.
#[derive(Clone, Default)]
struct Memory {
    streams: Arc<Mutex<Vec<Arc<Mutex<Stream>>>>>,
    faults: Arc<Mutex<Vec<Fault>>>,
    doubles: Doubles,
}

/// A line. It ends with this.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    memory: Memory,
    serving: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(gateway: SocketAddr, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let memory = Memory::default();
        let kept = memory.clone();
        let serving = tokio::spawn(async move {
            // They end with this task.
            let mut lines = JoinSet::new();
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                let planned = plan.of(number);
                number += 1;
                lines.spawn(line(client, gateway, planned, kept.clone()));
                while lines.try_join_next().is_some() {}
            }
        });
        Self {
            addr,
            memory,
            serving,
        }
    }

    /// Faults that have happened; one that was planned for a unit that never came has not.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.memory.faults.lock().unwrap().clone()
    }

    /// What was given to the gateway twice, once it has been answered.
    pub(crate) async fn doubles(&self) -> Vec<Double> {
        self.memory.doubles.settled().await
    }

    /// Everything that was said so far, connection by connection.
    pub(crate) fn streams(&self) -> Vec<Stream> {
        let streams = self.memory.streams.lock().unwrap();
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

impl Memory {
    fn begin(&self) -> Arc<Mutex<Stream>> {
        let stream = Arc::<Mutex<Stream>>::default();
        self.streams.lock().unwrap().push(Arc::clone(&stream));
        stream
    }

    fn happened(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
    }
}

async fn line(mut client: TcpStream, gateway: SocketAddr, planned: Option<Planned>, memory: Memory) {
    let Ok(mut upstream) = TcpStream::connect(gateway).await else {
        return;
    };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let (stream, doubled) = (memory.begin(), Arc::<OnceLock<(u64, Entry)>>::default());
    let way = |direction| Way {
        direction,
        planned: planned.filter(|p| p.direction == direction),
        stream: Arc::clone(&stream),
        gateway,
        memory: memory.clone(),
        doubled: Arc::clone(&doubled),
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
    memory: Memory,
    /// The id of the command that came twice on this connection.
    doubled: Arc<OnceLock<(u64, Entry)>>,
}

impl Way {
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
        let mut splitter = Splitter::new(self.direction == Direction::ToGateway);
        let (mut number, mut repeatable) = (0, 0);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            while let Some(unit) = splitter.next() {
                let fault = self.due(&unit, (number, repeatable));
                number += u64::from(!unit.is_sign_of_life);
                repeatable += u64::from(unit.repeat != Repeat::Never);
                self.pass(unit, fault, &mut to).await?;
            }
            match from.read(&mut buffer).await {
                Ok(n) if n > 0 => splitter.push(&buffer[..n]),
                ended => {
                    self.reads_on().await;
                    ended.map_err(|_| Broken::Cut)?;
                    break;
                }
            }
        }
        let rest = splitter.rest();
        if self.direction == Direction::ToClient {
            self.stream.lock().unwrap().received.extend_from_slice(&rest);
        }
        to.write_all(&rest).await.map_err(|_| Broken::Cut)?;
        to.shutdown().await.map_err(|_| Broken::Cut)
    }

    /// The fault of this unit, if it is the one of this number among all, or among those that can come twice.
    fn due(&mut self, unit: &Unit, (number, repeatable): (u64, u64)) -> Option<Fault> {
        let is_here = |p: &mut Planned| match p.fault {
            Fault::Duplicate => p.unit == repeatable && unit.repeat != Repeat::Never,
            _ => p.unit == number && !unit.is_sign_of_life,
        };
        self.planned.take_if(is_here).map(|p| p.fault)
    }

    /// Lets a unit pass as far as its fault does. A fault has happened when it has had its effect.
    async fn pass(&self, unit: Unit, fault: Option<Fault>, to: &mut WriteHalf<'_>) -> Result<(), Broken> {
        if self.direction == Direction::ToClient {
            self.hear(&unit);
        }
        let Unit {
            mut wire,
            says,
            repeat,
            ..
        } = unit;
        let mut broken = None;
        match fault {
            None => {}
            Some(Fault::Delay(span)) => tokio::time::sleep(span).await,
            Some(Fault::Duplicate) => self.repeat(repeat, &mut wire, &says),
            Some(Fault::HalfOpen) => (wire, broken) = (Vec::new(), Some(Broken::HalfOpen)),
            Some(Fault::CutBefore) => (wire, broken) = (Vec::new(), Some(Broken::Cut)),
            Some(Fault::CutInside) => {
                wire.truncate(wire.len() / 2);
                broken = Some(Broken::Cut);
            }
            Some(Fault::CutAfter) => broken = Some(Broken::Cut),
        }
        let whole = !matches!(fault, Some(Fault::HalfOpen | Fault::CutBefore | Fault::CutInside));
        if self.direction == Direction::ToGateway && whole {
            self.stream.lock().unwrap().sent.extend_from_slice(&says);
        }
        if to.write_all(&wire).await.is_err() {
            self.reads_on_deaf()?;
        } else if let Some(fault) = fault
            && (fault != Fault::Duplicate || self.doubled.get().is_some())
        {
            self.memory.happened(fault);
        }
        broken.map_or(Ok(()), Err)
    }

    /// Once more: a command behind itself, a request on a connection of its own.
    fn repeat(&self, repeat: Repeat, wire: &mut Vec<u8>, says: &[u8]) {
        match repeat {
            Repeat::Never => {}
            Repeat::Command(what, id) => {
                let entry = self.memory.doubles.begin(&what, 2);
                let _ = self.doubled.set((id, entry));
                wire.extend_from_within(..);
            }
            Repeat::Request(what) => {
                let entry = self.memory.doubles.begin(&what, 1);
                let memory = self.memory.clone();
                tokio::spawn(again(self.gateway, wire.clone(), says.to_vec(), memory, entry));
            }
        }
    }

    /// What the gateway says is remembered, whether or not the client is given it.
    fn hear(&self, unit: &Unit) {
        self.stream.lock().unwrap().received.extend_from_slice(&unit.says);
        let Some((id, entry)) = self.doubled.get() else {
            return;
        };
        match (unit.wire.first(), unit.says.get(..2)) {
            (Some(0x88), Some(code)) => entry.ended(Some(u16::from_be_bytes([code[0], code[1]]))),
            _ => {
                let said: serde_json::Value = serde_json::from_slice(&unit.says).unwrap_or_default();
                if said["id"] == *id {
                    entry.replied(&unit.says);
                }
            }
        }
    }

    /// A client that has gone leaves the gateway its time to answer what came twice; a gateway that has gone answers
    /// nothing more.
    async fn reads_on(&self) {
        match (self.doubled.get(), self.direction) {
            (Some((_, entry)), Direction::ToGateway) => entry.over().await,
            (Some((_, entry)), Direction::ToClient) => entry.ended(None),
            (None, _) => {}
        }
    }

    /// Nobody takes what the gateway says; it is listened to until it has answered what came twice.
    fn reads_on_deaf(&self) -> Result<(), Broken> {
        match (self.doubled.get(), self.direction) {
            (Some((_, entry)), Direction::ToClient) if !entry.is_over() => Ok(()),
            (Some((_, entry)), Direction::ToGateway) => {
                entry.ended(None);
                Err(Broken::Cut)
            }
            _ => Err(Broken::Cut),
        }
    }
}

/// The same request once more. What comes of it is remembered, and given to nobody.
async fn again(gateway: SocketAddr, wire: Vec<u8>, says: Vec<u8>, memory: Memory, entry: Entry) {
    let copied = async {
        let mut upstream = TcpStream::connect(gateway).await.ok()?;
        let stream = memory.begin();
        stream.lock().unwrap().sent = says;
        upstream.write_all(&wire).await.ok()?;
        memory.happened(Fault::Duplicate);
        Some((upstream, stream))
    };
    if let Some((mut upstream, stream)) = copied.await {
        let mut splitter = Splitter::new(false);
        let answered = listen(&mut upstream, &mut splitter, &stream);
        if let Ok(Some(answer)) = tokio::time::timeout(PATIENCE, answered).await {
            entry.replied(&answer.wire);
            // An event stream goes on, and holds the watch.
            if splitter.goes_on() {
                let rest = async { while listen(&mut upstream, &mut splitter, &stream).await.is_some() {} };
                let _ = tokio::time::timeout(HELD, rest).await;
            }
        }
    }
    entry.ended(None);
}

/// The next unit of an answer.
async fn listen(upstream: &mut TcpStream, splitter: &mut Splitter, stream: &Mutex<Stream>) -> Option<Unit> {
    let mut buffer = vec![0; 4096];
    loop {
        if let Some(unit) = splitter.next() {
            stream.lock().unwrap().received.extend_from_slice(&unit.says);
            return Some(unit);
        }
        match upstream.read(&mut buffer).await {
            Ok(n) if n > 0 => splitter.push(&buffer[..n]),
            _ => return None,
        }
    }
}
