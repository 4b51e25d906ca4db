//! A server that stands for KurrentDB, and nodes that keep their logs there.

use eventlog::kurrent::double::Double;
use eventlog::kurrent::{Kurrent, Options};
use eventlog::stream::Log;
use tempfile::TempDir;

use crate::canaries;
use crate::house::{House, folder};

/// A node: the real program, in a folder of its own.
pub(super) struct Node {
    pub(super) house: House,
    pub(super) folder: TempDir,
}

impl Node {
    /// Starts a node of this name, with lines of its own in its configuration.
    pub(super) async fn start(double: &Double, name: &str, lines: &str) -> Self {
        let folder = folder();
        let secret = format!("a-secret-of-nodes-on-kurrentdb-{}", std::process::id());
        canaries::plant(&secret);
        let text = format!(
            "node = \"{name}\"\nlog = \"{}\"\n{lines}\n[auth]\nsecret = \"{secret}\"\n\
             [limits]\nrequests_ip_max = 1000000\n",
            double.url(),
        );
        std::fs::write(folder.path().join("entasis.toml"), text).expect("a folder of our own");
        let house = start(&folder).await;
        Self { house, folder }
    }

    /// Kills the node and starts it again, in its folder.
    pub(super) async fn kill_and_start(self) -> Self {
        let Self { house, folder } = self;
        house.kill().await;
        let house = start(&folder).await;
        Self { house, folder }
    }
}

async fn start(folder: &TempDir) -> House {
    House::start(folder, ["serve", "--config", "entasis.toml"]).await
}

/// Opens one of the logs, beside the nodes.
pub(super) async fn log(double: &Double, log: Log) -> Kurrent {
    let address = double.url().parse().expect("its own address");
    Kurrent::open(address, log, Options::default()).await.expect("a server that is there")
}
