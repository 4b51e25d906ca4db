//! A folded account as it is kept, so that a miss need not read its stream from the beginning.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::account::Account;
use eventlog::entry::{Hash, Version};
use eventlog::keep::{Keep, Kept};
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::desk::folded::Folded;
use crate::desk::keys::Keys;
use crate::desk::reach::Reach;

/// Entries of an account after which it is kept again: about so many are read at a miss.
pub const KEEP_ENTRIES: u64 = 256;

/// Accounts that are being kept at once. One that is due while so many are is kept later.
pub const SAVES_MAX: usize = 4;

/// Of the account within, and of the shape around it.
const REVISION: u32 = (Account::REVISION << 8) | 1;

/// Keeps accounts beside the path of orders. Nobody waits for it.
#[derive(Clone)]
pub(super) struct Keeper {
    keep: Arc<dyn Keep>,
    saves: Arc<Semaphore>,
}

/// What is kept under the name of the account's stream.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The hash of the entry that left the account so: a state belongs to one log.
    hash: Hash,
    account: Account,
    /// The append ids of the newest entries, oldest first.
    keys: VecDeque<Uuid>,
}

impl Keeper {
    pub(super) fn new(keep: Arc<dyn Keep>) -> Self {
        Self { keep, saves: Arc::new(Semaphore::new(SAVES_MAX)) }
    }

    /// Returns an account as it was kept, if that is of this log. It is a cache: whatever is wrong
    /// with it, the stream itself is read instead.
    pub(super) async fn load(
        &self,
        ledger: &dyn ReadLog,
        stream: &Stream,
    ) -> Result<Option<Folded>, LogError> {
        let kept = match self.keep.load(&stream.to_string()).await {
            Ok(kept) => kept.filter(|kept| kept.revision == REVISION),
            Err(error) => {
                tracing::warn!(%stream, %error, "what was kept of an account cannot be loaded");
                None
            }
        };
        let Some(Kept { version, state, .. }) = kept else { return Ok(None) };
        let State { hash, account, keys } = match serde_json::from_slice(&state) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%stream, %error, "what was kept of an account does not read");
                return Ok(None);
            }
        };
        let before = Version(version.0.saturating_sub(1));
        let entry = ledger.read_stream(stream, before, 1).await?.pop();
        let entry = entry.filter(|entry| (entry.version, entry.hash) == (version, hash));
        let Some(entry) = entry else {
            tracing::warn!(%stream, %version, "what was kept of an account is not of this log");
            return Ok(None);
        };
        let (offset, keys) = (entry.offset, Keys::of(keys, version));
        let reach = Reach { version, hash, offset, keys, unsettled: None };
        Ok(Some(Folded { account, reach, kept: version }))
    }

    /// Looks at an account after an entry: keeps it when that is due, and waits for nothing.
    pub(super) fn look(&self, stream: &Stream, folded: &mut Folded) {
        if folded.reach.version.0.saturating_sub(folded.kept.0) < KEEP_ENTRIES {
            return;
        }
        let Ok(permit) = Arc::clone(&self.saves).try_acquire_owned() else { return };
        folded.kept = folded.reach.version;
        let Folded { account, reach: Reach { version, hash, keys, .. }, .. } = &*folded;
        let state = State { hash: *hash, account: account.clone(), keys: keys.ids().clone() };
        let (keep, stream, version) = (Arc::clone(&self.keep), stream.clone(), *version);
        tokio::spawn(async move {
            if let Err(error) = save(&*keep, &stream, version, state).await {
                tracing::warn!(%stream, error, "an account cannot be kept; it is tried again later");
            }
            drop(permit);
        });
    }
}

async fn save(
    keep: &dyn Keep,
    stream: &Stream,
    version: Version,
    state: State,
) -> Result<(), String> {
    let state = serde_json::to_vec(&state).map_err(|error| error.to_string())?;
    let kept = Kept { revision: REVISION, version, state };
    keep.save(&stream.to_string(), kept).await.map_err(|error| error.to_string())
}
