//! Brokers, and nodes that stand on them: each the real program in a folder of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventlog::log::LogError;
use eventlog::nats::server::{Cluster, Settings};
use eventlog::nats::{Nats, Options};
use eventlog::stream::Log;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::canaries;
use crate::house::{House, folder};

/// The secret that the nodes of a site sign their tokens with.
fn token_secret() -> String {
    static SITES: AtomicUsize = AtomicUsize::new(0);
    let number = SITES.fetch_add(1, Ordering::Relaxed);
    let secret = format!("a-secret-of-the-nodes-of-site-{number}-{}", std::process::id());
    canaries::plant(&secret);
    secret
}

/// Brokers and what the nodes on them have in common. The brokers end with it.
pub(crate) struct Site {
    pub(crate) brokers: Brokers,
    secret: String,
    /// Lines of every node's configuration.
    common: String,
}

/// The brokers of a site: one or three.
pub(crate) struct Brokers {
    cluster: Cluster,
}

/// A node of a site.
pub(crate) struct Node {
    pub(crate) house: House,
    pub(crate) folder: TempDir,
}

impl Site {
    /// Starts three brokers; `None` where there is no binary.
    pub(crate) async fn three() -> Option<Self> {
        Some(Self::on(Cluster::three(Settings::default()).await?))
    }

    /// Starts one broker.
    pub(crate) async fn one() -> Option<Self> {
        Some(Self::on(Cluster::single(Settings::default()).await?))
    }

    pub(crate) fn on(cluster: Cluster) -> Self {
        Self { brokers: Brokers { cluster }, secret: token_secret(), common: String::new() }
    }

    /// Gives every node that is started from here on these lines, before any table.
    pub(crate) fn with(self, lines: &str) -> Self {
        Self { common: format!("{}{lines}\n", self.common), ..self }
    }

    /// Starts a node of this name, with lines of its own in its configuration.
    pub(crate) async fn node(&self, name: &str, lines: &str) -> Node {
        let folder = folder();
        let replicas = self.brokers.cluster.len();
        let text = format!(
            "node = \"{name}\"\nlog = \"{}\"\n{}{lines}\n[nats]\nreplicas = {replicas}\nsync_always = true\n\
             [auth]\nsecret = \"{}\"\n[limits]\nrequests_ip_max = 1000000\n",
            self.brokers.url(),
            self.common,
            self.secret,
        );
        let file = folder.path().join("entasis.toml");
        std::fs::write(&file, text).expect("a folder that can be written to");
        let house = start(&folder).await;
        Node { house, folder }
    }

    /// Opens one of the logs, beside the nodes.
    pub(crate) async fn log(&self, log: Log) -> Nats {
        let client = self.brokers.cluster.client().await;
        let options = Options {
            replicas: self.brokers.cluster.len(),
            // As nodes are configured that nobody told otherwise.
            market_age: Duration::from_hours(7 * 24),
            market_bytes: 20_000_000_000,
            create: false,
            ..Options::default()
        };
        // Right after a fault the broker may still be looking for its leader.
        let mut opened = Nats::open(client.clone(), log, options.clone()).await;
        for _ in 0..100 {
            if !matches!(opened, Err(LogError::Unavailable(_))) {
                break;
            }
            sleep(Duration::from_millis(100)).await;
            opened = Nats::open(client.clone(), log, options.clone()).await;
        }
        opened.unwrap_or_else(|error| panic!("the {log} log cannot be opened: {error}"))
    }
}

async fn start(folder: &TempDir) -> House {
    House::start(folder, ["serve", "--config", "entasis.toml"]).await
}

impl Node {
    /// Kills the node and starts it again, in its folder.
    pub(crate) async fn kill_and_start(self) -> Self {
        let Self { house, folder } = self;
        house.kill().await;
        let house = start(&folder).await;
        Self { house, folder }
    }
}

impl Brokers {
    pub(crate) async fn kill(&mut self, place: usize) {
        self.cluster.kill9(place).await;
    }

    /// Starts one again that was killed; does not wait for it.
    pub(crate) fn restart(&mut self, place: usize) {
        self.cluster.start_again(place);
    }

    pub(crate) async fn pause(&self, place: usize) {
        self.cluster.stop_signal(place).await;
    }

    pub(crate) async fn go_on(&self, place: usize) {
        self.cluster.cont(place).await;
    }

    /// Kills all of them as nearly at once as can be.
    pub(crate) async fn kill_all(&mut self) {
        for place in 0..self.cluster.len() {
            self.cluster.kill9(place).await;
        }
    }

    pub(crate) async fn restart_all(&mut self) {
        for place in 0..self.cluster.len() {
            self.cluster.start_again(place);
        }
        assert!(self.cluster.ready().await, "a broker does not come up again");
    }

    /// Returns where they are, as a configuration names them.
    pub(crate) fn url(&self) -> String {
        self.cluster.urls().replace(",nats://", ",")
    }
}

/// Waits until a node shows all that both logs hold.
pub(crate) async fn until_level(house: &House) {
    house
        .until("/readyz", |ready| {
            let lag = |log: &str| ready.body["views"][log]["lag"].as_u64();
            (ready.status, lag("ledger"), lag("market")) == (200, Some(0), Some(0))
        })
        .await;
}
