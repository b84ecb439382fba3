//! The composition root: builds everything once, binds, serves, drains.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{Engine, Memory, Sink};
use crate::listen::{self, Local};
use crate::node::{self, BuildError, Node};
use crate::ops::{advice, descriptors};
use crate::{http, ws};

/// Why the gateway did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration cannot be used:\n  {}", .0.join("\n  "))]
    Config(Vec<String>),
    #[error("{name} = {address} cannot be bound: {error}; {}", advice::on_binding(*address, error))]
    Bind {
        name: &'static str,
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("{0}")]
    Local(String),
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFew),
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A gateway that is bound and not yet serving.
pub struct App {
    node: Arc<Node>,
    public: TcpListener,
    operator: TcpListener,
    local: Option<Local>,
    addresses: Addresses,
}

/// The ports that were taken.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub public: SocketAddr,
    pub operator: SocketAddr,
}

/// An engine, and the way to give it its sink once there is one.
pub type Attachable = (Engine, Box<dyn FnOnce(Arc<dyn Sink>) + Send>);

/// Builds an engine.
pub type EngineFactory = Box<dyn FnOnce(&Config, &Clock) -> Attachable + Send>;

impl App {
    /// Binds with the memory engine.
    ///
    /// # Errors
    /// What [`StartError`] lists.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Self::bind_with(
            config,
            Box::new(|config, _| in_memory(node::memory_engine(config))),
        )
    }

    /// Binds with another engine.
    ///
    /// # Errors
    /// What [`StartError`] lists.
    pub fn bind_with(config: Config, engine: EngineFactory) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let limits = &config.limits;
        let connections_max = descriptors::sockets(
            descriptors::limit(),
            limits.descriptors_reserved,
            limits.connections_max,
        )?;
        let public = listen("listen", config.listen)?;
        let operator = listen("operator_listen", config.operator_listen)?;
        let local = config
            .unix
            .path()
            .map(|path| Local::bind(path, config.unix.permissions()));
        let local = local.transpose().map_err(StartError::Local)?;
        let taken = |name, listener: &TcpListener, address| {
            listener
                .local_addr()
                .map_err(|error| StartError::Bind { name, address, error })
        };
        let addresses = Addresses {
            public: taken("listen", &public, config.listen)?,
            operator: taken("operator_listen", &operator, config.operator_listen)?,
        };
        let origin = config
            .public_origin
            .clone()
            .unwrap_or_else(|| format!("{}://{}", config.tls.scheme(), addresses.public));
        let clock = Clock::system();
        let (engine, attach) = engine(&config, &clock);
        let built = Node::build(config, engine, clock, origin, connections_max)?;
        attach(Arc::clone(&built.sink) as Arc<dyn Sink>);
        Ok(Self {
            node: built.start(),
            public,
            operator,
            local,
            addresses,
        })
    }

    /// The ports that were taken.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The node, for tests that look inside.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Serves until `shutdown` is ready, then drains: readiness off, a grace, `reconnect` pushes spread out,
    /// close 1012, and an end after the hard limit in any case.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.node.seed_accounts().await;
        let router = http::router(&self.node);
        let serving = ws::Server::start(Arc::clone(&self.node), self.public, router);
        let local = self.local.map(Local::into_parts);
        let (listener, socket_file) = local.unzip();
        if let Some(listener) = listener.flatten() {
            serving.serve_local(listener);
        }
        let operator = ws::Server::start_operator(
            Arc::clone(&self.node),
            self.operator,
            http::operator_router(&self.node),
        );
        let mut shutdown = pin!(shutdown);
        let told = tokio::select! {
            () = &mut shutdown => true,
            () = self.node.drain_asked() => false,
        };
        self.node.begin_drain();
        tracing::info!("draining");
        let leaving = async {
            ws::drain::run(&self.node).await;
            drop(socket_file);
            serving.stop().await;
            operator.stop().await;
        };
        if told {
            leaving.await;
        } else if let Either::Right(((), leaving)) = select(pin!(leaving), shutdown).await {
            // The console asked first, so this signal was the first one: only the next ends the process at once.
            leaving.await;
        }
        tracing::info!("stopped");
    }
}

/// The memory engine in the shape [`App::bind_with`] takes.
pub fn in_memory(memory: Arc<Memory>) -> Attachable {
    let attached = Arc::clone(&memory);
    (
        Engine::Memory(memory),
        Box::new(move |sink| attached.attach(sink)),
    )
}

fn listen(name: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    listen::tcp(address).map_err(|error| StartError::Bind { name, address, error })
}
