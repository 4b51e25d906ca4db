//! How the log fares: as the tail's questions are answered, and as its streams are set up.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::{LogError, Standing};
use crate::stream::Stream;

/// Questions without an answer until the log counts as down: one may be lost.
const SILENT_MAX: u32 = 2;
/// Streams whose settings are told of. Of more nothing is said: the first is reason enough.
const DRIFTS_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Faring(Mutex<State>);

#[derive(Default)]
struct State {
    silent: u32,
    /// The last thing that was said instead of an answer.
    why: String,
    /// By which settings streams would lose entries.
    drift: BTreeMap<Stream, String>,
}

impl Faring {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is put in whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heard(&self) {
        let silent = std::mem::take(&mut self.state().silent);
        if silent >= SILENT_MAX {
            tracing::info!("KurrentDB answers again");
        }
    }

    pub(super) fn heard_nothing(&self, error: &LogError) {
        let mut state = self.state();
        state.silent = state.silent.saturating_add(1);
        state.why = error.to_string();
        if state.silent == SILENT_MAX {
            tracing::warn!(why = state.why, "KurrentDB cannot be reached; trying again");
        }
    }

    /// The settings of a stream were seen: by which of them it would lose entries.
    pub(super) fn saw_settings(&self, stream: &Stream, drift: Option<String>) {
        let mut state = self.state();
        let Some(drift) = drift else {
            state.drift.remove(stream);
            return;
        };
        tracing::error!(drift, "a setting of KurrentDB would lose entries");
        if state.drift.len() < DRIFTS_MAX {
            state.drift.insert(stream.clone(), drift);
        }
    }

    pub(super) fn drift(&self) -> Option<String> {
        self.state().drift.values().next().cloned()
    }

    /// An error while nothing can be sent, as far as is known.
    pub(super) fn reach(&self) -> Result<(), LogError> {
        let state = self.state();
        if state.silent >= SILENT_MAX {
            return Err(LogError::Unavailable(state.why.clone()));
        }
        Ok(())
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.state();
        if state.silent >= SILENT_MAX {
            return Standing::Down {
                reason: state.why.clone(),
                advice: Some(
                    "see which KurrentDB nodes run, and start those that do not: a majority must; \
                     the engine goes on by itself then"
                        .to_owned(),
                ),
            };
        }
        match state.drift.values().next() {
            None => Standing::Good,
            Some(drift) => Standing::Degraded {
                reason: drift.clone(),
                advice: Some(
                    "take $maxAge, $maxCount and $tb out of the metadata of that stream before the \
                     next scavenge"
                        .to_owned(),
                ),
            },
        }
    }
}
