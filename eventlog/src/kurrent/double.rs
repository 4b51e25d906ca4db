//! A server for tests that speaks the part of KurrentDB's protocol that clients of event streams use. It
//! proves the wire, not the server: what it does is what the protocol's files, the client and the
//! server's sources say.
//!
//! Read in this order: what is kept (`store`), what becomes of an append (`appending`), what metadata
//! hides (`retention`), what readers are shown (`reading`); then the wire: the messages (`protocol`, which
//! is generated), how requests become ours (`request`) and ours become answers (`answer`), the calls
//! (`service`, `discovery`, `gossip_page`) and a read on its way (`delivery`); who may call (`access`); what
//! all nodes share (`cluster`) and one node on its port (`node`, `connection`, `life`). What goes wrong is
//! said through `harm` and stands in `faults`.
//!
//! The nodes of one double have one store. One of them leads; the others have all that it has, unless they
//! are told to lag.

pub mod store;

mod appending;

mod retention;

mod reading;

#[expect(
    clippy::pedantic,
    clippy::enum_variant_names,
    clippy::large_enum_variant,
    dead_code,
    unreachable_pub,
    reason = "generated: it has the shape of the protocol's files"
)]
mod protocol;

mod request;

mod answer;

mod service;

mod discovery;

mod gossip_page;

mod delivery;

pub mod access;

mod cluster;

pub mod node;

mod connection;

mod life;

pub mod harm;

pub mod faults;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::kurrent::double::access::User;
use crate::kurrent::double::cluster::Cluster;
use crate::kurrent::double::node::{Node, Port, Tls};

/// How a double is started. Without anything else: one node, without users, in plain text.
#[derive(Default)]
pub struct Settings {
    /// Who may call. Nobody: everybody may.
    pub users: Vec<User>,
    pub tls: Option<Tls>,
}

/// The nodes and what they keep. They run on a thread of their own, so that a test may block its own, and
/// end with this value.
pub struct Double {
    cluster: Arc<Cluster>,
    nodes: Mutex<Vec<Node>>,
    is_tls: bool,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Double {
    /// Starts one node.
    pub fn start() -> io::Result<Self> {
        Self::start_with(1, Settings::default())
    }

    /// Starts that many nodes. The first one leads.
    pub fn cluster(nodes: usize) -> io::Result<Self> {
        Self::start_with(nodes, Settings::default())
    }

    pub fn start_with(nodes: usize, settings: Settings) -> io::Result<Self> {
        let Settings { users, tls } = settings;
        if tls.is_some() {
            // Two are compiled in, and nobody else chooses one. Who was first was right, too.
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let inside = runtime.enter();
        let ports: Vec<_> = (0..nodes).map(|_| Port::reserve()).collect::<io::Result<_>>()?;
        let numbers: Vec<_> = ports.iter().map(|port| port.number).collect();
        let cluster = Arc::new(Cluster::new(&numbers, users));
        let node = |(index, port)| Node::new(index, port, Arc::clone(&cluster), tls.clone());
        let mut nodes: Vec<_> = ports.into_iter().enumerate().map(node).collect();
        drop(inside);
        for node in &mut nodes {
            node.start(runtime.handle())?;
        }
        let (nodes, is_tls) = (Mutex::new(nodes), tls.is_some());
        Ok(Self { cluster, nodes, is_tls, runtime: Some(runtime) })
    }

    /// Returns the address of all nodes.
    pub fn url(&self) -> String {
        let ports: Vec<_> = self.nodes().iter().map(Node::port).collect();
        self.url_of(&ports)
    }

    /// Returns the address of one node alone.
    pub fn node_url(&self, node: usize) -> String {
        self.url_of(&[self.port(node)])
    }

    fn url_of(&self, ports: &[u16]) -> String {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("kurrentdb://{}?tls={}", hosts.join(","), self.is_tls)
    }

    /// Returns the port of a node, which is its own also while it is down.
    pub fn port(&self, node: usize) -> u16 {
        self.with(node, |node, _| node.port())
    }

    /// Shuts a node down: its calls end with OK, and then nobody is there.
    pub fn stop(&self, node: usize) {
        self.with(node, Node::stop);
    }

    /// Cuts all connections of a node at once, and then nobody is there.
    pub fn kill(&self, node: usize) {
        self.with(node, |node, _| node.kill());
    }

    /// Starts a node that was stopped or killed, on its port.
    pub fn start_again(&self, node: usize) -> io::Result<()> {
        self.with(node, Node::start)
    }

    /// From now on a node accepts connections and neither reads nor writes.
    pub fn freeze(&self, node: usize) {
        self.with(node, |node, _| node.freeze(true));
    }

    /// A frozen node goes on, with what it was asked meanwhile.
    pub fn thaw(&self, node: usize) {
        self.with(node, |node, _| node.freeze(false));
    }

    /// Makes a node the leader.
    pub fn lead(&self, node: usize) {
        self.cluster.lead(Some(node));
    }

    /// Leaves the nodes without a leader.
    pub fn lead_nobody(&self) {
        self.cluster.lead(None);
    }

    /// A node stays at what it has.
    pub fn lag(&self, node: usize) {
        self.cluster.lag(node, true);
    }

    /// A node that lagged has everything again.
    pub fn catch_up(&self, node: usize) {
        self.cluster.lag(node, false);
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a node, which the test counted right: otherwise that is its failure.
    fn with<T>(&self, node: usize, act: impl FnOnce(&mut Node, &Handle) -> T) -> T {
        let runtime = self.runtime.as_ref().expect("it goes only when this value is dropped");
        act(self.nodes().get_mut(node).expect("a double has the node of a test"), runtime.handle())
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test's thread may not wait here when it runs tasks itself.
            runtime.shutdown_background();
        }
    }
}
