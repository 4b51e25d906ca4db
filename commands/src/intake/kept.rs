//! A market as it is kept for the next run.

use domain::market::Market;
use eventlog::entry::{Hash, Version};
use eventlog::keep::{Keep, Kept};
use eventlog::log::{LogError, ReadLog, Tip};
use eventlog::stream::Stream;
use serde::{Deserialize, Serialize};

use crate::pen::Pen;

/// What is kept of a market under the name of its stream.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The hash of the entry that left the market so: a state belongs to one log.
    hash: Hash,
    market: Market,
}

/// Returns what was kept of a market, and of which version, if the stream goes on from there. It is
/// a cache: whatever is wrong with it, the stream itself is read instead.
pub(super) async fn load(
    keep: &dyn Keep,
    pen: &Pen<'_>,
    stream: &Stream,
) -> Result<Option<(Market, Version)>, LogError> {
    let kept = match keep.load(&stream.to_string()).await {
        Ok(kept) => kept.filter(|kept| kept.revision == Market::REVISION),
        Err(error) => {
            tracing::warn!(%stream, %error, "what was kept of a market cannot be loaded");
            None
        }
    };
    let Some(Kept { version, state, .. }) = kept else { return Ok(None) };
    let State { hash, market } = match serde_json::from_slice(&state) {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(%stream, %error, "what was kept of a market does not read");
            return Ok(None);
        }
    };
    if !belongs(pen, stream, version, hash).await? {
        tracing::warn!(%stream, %version, "what was kept of a market is not of this log");
        return Ok(None);
    }
    Ok(Some((market, version)))
}

/// Whether the stream has, or may have had, this entry.
async fn belongs(
    pen: &Pen<'_>,
    stream: &Stream,
    version: Version,
    hash: Hash,
) -> Result<bool, LogError> {
    let tip = pen.tip(stream).await?;
    let Some(tip) = tip.filter(|tip| tip.version >= version) else {
        // The log has lost its end, or is another one.
        return Ok(false);
    };
    let before = Version(version.0.saturating_sub(1));
    Ok(match pen.next(stream, before).await? {
        Some(entry) if entry.version == version => entry.hash == hash,
        Some(entry) if entry.version == version.next() => entry.prev_hash == hash,
        None if tip.version == version => tip.hash == hash,
        // What could tell was dropped.
        Some(_) | None => true,
    })
}

/// Keeps a market as a durable entry left it.
pub(super) async fn save(
    keep: &dyn Keep,
    log: &dyn ReadLog,
    stream: &Stream,
    market: Market,
    version: Version,
) -> Result<(), String> {
    let hash = hash_of(log, stream, version).await.map_err(|error| error.to_string())?;
    let hash = hash.ok_or("its entry was dropped meanwhile")?;
    let state = serde_json::to_vec(&State { hash, market }).map_err(|error| error.to_string())?;
    let kept = Kept { revision: Market::REVISION, version, state };
    keep.save(&stream.to_string(), kept).await.map_err(|error| error.to_string())
}

async fn hash_of(
    log: &dyn ReadLog,
    stream: &Stream,
    version: Version,
) -> Result<Option<Hash>, LogError> {
    if let Some(Tip { hash, .. }) = log.tip(stream).await?.filter(|tip| tip.version == version) {
        return Ok(Some(hash));
    }
    let before = Version(version.0.saturating_sub(1));
    let entry = log.read_stream(stream, before, 1).await?.into_iter().next();
    Ok(entry.filter(|entry| entry.version == version).map(|entry| entry.hash))
}
