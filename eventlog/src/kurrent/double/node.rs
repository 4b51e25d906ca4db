//! One server, as far as clients can tell: a port, what listens on it, and how it ends.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::kurrent::double::cluster::Cluster;
use crate::kurrent::double::connection::Connection;
use crate::kurrent::double::gossip_page;
use crate::kurrent::double::life::{self, Life};
use crate::kurrent::double::protocol::gossip::gossip_server::GossipServer;
use crate::kurrent::double::protocol::server_features::server_features_server::ServerFeaturesServer;
use crate::kurrent::double::protocol::streams::streams_server::StreamsServer;
use crate::kurrent::double::service::Service;

/// Connections that wait to be accepted. Further ones wait at the client.
const CONNECTIONS_MAX: u32 = 64;
/// How long a node that stops lets its calls end. Then it cuts them.
const STOP_WAIT: Duration = Duration::from_secs(1);
/// How long it may take until a port is free again. Past it something is wrong with the test.
const CLOSED_WAIT: Duration = Duration::from_secs(5);

/// A certificate, and the key of it, as PEM.
#[derive(Clone)]
pub struct Tls {
    pub certificate: String,
    pub key: String,
}

pub(crate) struct Node {
    index: usize,
    cluster: Arc<Cluster>,
    tls: Option<Tls>,
    port: u16,
    /// Bound, and never listening: nobody else gets the port while the node is down.
    _reserved: TcpSocket,
    running: Option<Running>,
}

struct Running {
    life: watch::Sender<Life>,
    /// Disconnected when nothing listens on the port any more.
    listening: blocking::Receiver<Infallible>,
}

/// A port that is ours.
pub(crate) struct Port {
    socket: TcpSocket,
    pub(crate) number: u16,
}

impl Port {
    pub(crate) fn reserve() -> io::Result<Self> {
        let socket = socket(0)?;
        let number = socket.local_addr()?.port();
        Ok(Self { socket, number })
    }
}

fn socket(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Two sockets on one port: the one that reserves it, and the one that listens.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

impl Node {
    pub(crate) fn new(index: usize, port: Port, cluster: Arc<Cluster>, tls: Option<Tls>) -> Self {
        let Port { socket, number } = port;
        Self { index, cluster, tls, port: number, _reserved: socket, running: None }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Begins to answer. Nothing happens if it does already.
    pub(crate) fn start(&mut self, runtime: &Handle) -> io::Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let _inside = runtime.enter();
        let listener = socket(self.port)?.listen(CONNECTIONS_MAX)?;
        let life = watch::Sender::new(Life::Running);
        let (connections, accepted) = mpsc::channel(1);
        let (open, listening) = blocking::sync_channel(0);

        let mut builder = Server::builder();
        if let Some(Tls { certificate, key }) = &self.tls {
            let identity = Identity::from_pem(certificate, key);
            let tls = ServerTlsConfig::new().identity(identity);
            builder = builder.tls_config(tls).map_err(io::Error::other)?;
        }
        let cluster = Arc::clone(&self.cluster);
        let service = Service { node: self.index, cluster, life: life.subscribe() };
        let server = builder
            .add_service(ServerFeaturesServer::new(service.clone()))
            .add_service(GossipServer::new(service.clone()))
            .add_service(StreamsServer::new(service));
        let mut until = life.subscribe();
        let serving =
            server.serve_with_incoming_shutdown(ReceiverStream::new(accepted), async move {
                life::ended(&mut until).await;
            });
        runtime.spawn(serving);
        let cluster = Arc::clone(&self.cluster);
        runtime.spawn(accept(listener, cluster, life.subscribe(), connections, open));

        self.running = Some(Running { life, listening });
        self.cluster.alive(self.index, true);
        Ok(())
    }

    /// Ends as a server does that is shut down: calls end with OK, then connections close.
    pub(crate) fn stop(&mut self, runtime: &Handle) {
        let life = self.end(Life::Stopping);
        runtime.spawn(async move {
            time::sleep(STOP_WAIT).await;
            if let Some(life) = life {
                life.send_replace(Life::Killed);
            }
        });
    }

    /// Ends as a server does that loses its power, though the machine tells that the port is closed.
    pub(crate) fn kill(&mut self) {
        // Connections look at it until they are gone.
        drop(self.end(Life::Killed));
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        if let Some(running) = &self.running {
            running.life.send_replace(if frozen { Life::Frozen } else { Life::Running });
        }
    }

    fn end(&mut self, end: Life) -> Option<watch::Sender<Life>> {
        let Running { life, listening } = self.running.take()?;
        self.cluster.alive(self.index, false);
        life.send_replace(end);
        let closed = listening.recv_timeout(CLOSED_WAIT);
        assert_eq!(closed, Err(blocking::RecvTimeoutError::Disconnected), "the port is not free");
        Some(life)
    }
}

async fn accept(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    mut life: watch::Receiver<Life>,
    connections: mpsc::Sender<io::Result<Connection>>,
    open: blocking::SyncSender<Infallible>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = life::ended(&mut life) => break,
            accepted = listener.accept() => accepted,
        };
        if let Ok((stream, _)) = accepted {
            let connections = connections.clone();
            tokio::spawn(greet(stream, Arc::clone(&cluster), life.clone(), connections));
        }
    }
    drop(listener);
    drop(open);
}

/// Looks at what a client begins with: calls go one way, requests for a page the other.
async fn greet(
    stream: TcpStream,
    cluster: Arc<Cluster>,
    mut life: watch::Receiver<Life>,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    // Small answers go out at once.
    stream.set_nodelay(true).ok();
    if life.wait_for(|life| *life != Life::Frozen).await.is_err() {
        return;
    }
    let mut first = [0; 4];
    let asks_for_page = tokio::select! {
        () = life::ended(&mut life) => return,
        peeked = stream.peek(&mut first) => match peeked {
            Ok(0) | Err(_) => return,
            Ok(count) => b"GET ".starts_with(first.get(..count).unwrap_or_default()),
        },
    };
    if asks_for_page {
        // Who goes away before the end has no use for it.
        gossip_page::answer(stream, &cluster).await.ok();
    } else {
        connections.send(Ok(Connection::new(stream, life))).await.ok();
    }
}
