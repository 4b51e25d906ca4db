//! What an acknowledged entry survives: by how many nodes the cluster has.
//!
//! KurrentDB acknowledges a write when a majority of the nodes has it on its disk, and a single node
//! when it has synced it itself. How many there are a node tells by HTTP; where that cannot be asked,
//! the configuration is believed.

use crate::kurrent::Shared;
use crate::log::Durability;

/// Nodes of which a majority outlives the loss of a machine.
const QUORUM_NODES: usize = 3;

impl Shared {
    /// Finds out how durable the log is, and says in the log lines when that is less than it could be.
    pub(super) async fn find_durability(&self) -> Durability {
        let told = self.server.members().await;
        let nodes = match (&told, self.options.nodes) {
            (Ok(nodes), _) => Some(*nodes),
            (Err(_), configured) => configured,
        };
        let log = self.names.log;
        if let (Ok(told), Some(configured)) = (&told, self.options.nodes)
            && *told < configured
        {
            tracing::warn!(%log, told, configured, "the cluster has fewer nodes than configured");
        }
        match nodes {
            Some(nodes) if nodes >= QUORUM_NODES => Durability::Quorum,
            Some(nodes) if nodes > 0 => Durability::Fsync,
            _ => {
                let why = told.err().map(|fault| fault.unavailable().to_string());
                tracing::warn!(
                    %log,
                    why,
                    "no node tells how many there are: kurrent.nodes may say it"
                );
                Durability::Os
            }
        }
    }
}
