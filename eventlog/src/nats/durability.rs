//! What an acknowledged entry survives: by how many servers have it, and whether each has it on its
//! disk by then.
//!
//! Only a server's own port for monitoring tells when it syncs, not the connection that a user has.
//! So the configuration says it, and where it names those ports, it is held against what they tell.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;

use crate::log::Durability;
use crate::nats::Options;

/// How long a server may take to tell.
const TELL_WAIT: Duration = Duration::from_secs(2);
/// Replicas of which a majority outlives the loss of a machine.
const QUORUM_REPLICAS: usize = 3;
/// What a server tells is shorter. What is longer is cut, and then tells nothing.
const TOLD_BYTES_MAX: u64 = 1 << 20;

/// What was found, and a plain word for whoever should know that it is less than it could be.
pub(super) struct Found {
    pub(super) durability: Durability,
    pub(super) warning: Option<String>,
}

/// Finds out what an entry survives that these replicas have acknowledged.
pub(super) async fn find(options: &Options) -> Found {
    let doubt = if options.sync_always { doubted(&options.monitors).await } else { None };
    let is_synced = options.sync_always && doubt.is_none();
    let durability = match (is_synced, options.replicas) {
        (false, _) => Durability::Os,
        (true, QUORUM_REPLICAS..) => Durability::Quorum,
        (true, _) => Durability::Fsync,
    };
    let warning = match (doubt, durability) {
        (Some(doubt), _) => Some(doubt),
        (None, Durability::Quorum) => None,
        (None, Durability::Fsync) => Some(format!(
            "entries have {} replica(s): the loss of a machine loses acknowledged entries; three \
             NATS nodes and replicas = 3 keep them",
            options.replicas
        )),
        (None, Durability::Os | Durability::Memory) => Some(
            "acknowledged entries may not be on any disk yet, and a loss of power may lose them: \
             set sync_interval: always on every NATS server, and say so in the configuration"
                .to_owned(),
        ),
    };
    Found { durability, warning }
}

/// Says why not every server that is asked syncs before it acknowledges.
async fn doubted(monitors: &[String]) -> Option<String> {
    for monitor in monitors {
        match told(monitor).await {
            Ok(true) => {}
            Ok(false) => {
                return Some(format!(
                    "the NATS server at {monitor} acknowledges before it syncs: a loss of power \
                     may lose entries; set sync_interval: always in its jetstream block"
                ));
            }
            Err(error) => {
                return Some(format!(
                    "the NATS server at {monitor} does not tell whether it syncs before it \
                     acknowledges, so this counts as no: {error}"
                ));
            }
        }
    }
    None
}

/// Asks a server's monitoring port whether it always syncs.
async fn told(monitor: &str) -> io::Result<bool> {
    let varz = get(monitor, "/varz").await?;
    Ok(varz.pointer("/jetstream/config/sync_always") == Some(&Value::Bool(true)))
}

/// Returns what a server says is wrong with it.
pub(super) async fn trouble(monitor: &str) -> Option<String> {
    let health = get(monitor, "/healthz").await.ok()?;
    Some(health.get("error")?.as_str()?.to_owned())
}

async fn get(monitor: &str, path: &str) -> io::Result<Value> {
    let text =
        time::timeout(TELL_WAIT, get_text(monitor, path)).await.map_err(io::Error::other)??;
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}

async fn get_text(monitor: &str, path: &str) -> io::Result<String> {
    let other = || io::Error::other("expected http://HOST:PORT");
    let address = monitor.strip_prefix("http://").ok_or_else(other)?.trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await?;
    // An old version of HTTP, so that the answer ends with the connection.
    let ask = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await?;
    let mut text = String::new();
    stream.take(TOLD_BYTES_MAX).read_to_string(&mut text).await?;
    Ok(text)
}
