//! How what the house itself decides is written: under names made of what it says, and with
//! patience for a log that cannot take it now.

use std::fmt;
use std::time::Duration;

use domain::event::Event;
use eventlog::entry::{Actor, Draft, Entry, Version};
use eventlog::log::{Appended, EventLog, Expected, LogError, Tip};
use eventlog::stream::Stream;
use uuid::Uuid;

use crate::clock::Clock;

/// Waits between attempts while the log cannot be reached or is full.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Entries that are read at once when another writer was first.
const CATCH_UP_ENTRIES: usize = 64;

/// Names of entries are made in this namespace, and those of the commands behind them in the other.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_2f5e_3a54_5f0c_9c1e_7d3f_5a61_8e20);
const COMMANDS: Uuid = Uuid::from_u128(0x2c9d_5d0e_8b1f_5a7e_8f43_1f0a_b9d4_63c7);

/// What it takes to write an entry.
#[derive(Clone, Copy)]
pub struct Pen<'a> {
    pub log: &'a dyn EventLog,
    pub clock: &'a dyn Clock,
    pub actor: &'a Actor,
}

impl Pen<'_> {
    /// Appends, and waits for as long as the log cannot take it. `None` is a conflict; `repeated`
    /// says that somebody else had put in the same.
    pub async fn put(
        &self,
        stream: &Stream,
        name: &[u8],
        events: Vec<Event>,
        expected: Expected,
    ) -> Result<Option<Appended>, LogError> {
        let (mut patience, mut unknown) = (Patience::default(), false);
        let draft = Draft {
            stream: stream.clone(),
            append_id: Uuid::new_v5(&NAMESPACE, name),
            command_id: Uuid::new_v5(&COMMANDS, name),
            recorded_at: self.clock.now(),
            actor: self.actor.clone(),
            correlation_id: None,
            causation: None,
            events,
        };
        loop {
            match self.log.append(draft.clone(), expected).await {
                Ok(appended) => {
                    // What is found after an attempt of unknown outcome is that attempt.
                    let repeated = appended.repeated && !unknown;
                    return Ok(Some(Appended { repeated, ..appended }));
                }
                Err(LogError::Conflict { .. }) => return Ok(None),
                Err(error) => {
                    unknown |= error == LogError::OutcomeUnknown;
                    patience.wait_out(stream, error).await?;
                }
            }
        }
    }

    /// Reads on in a stream, and waits for as long as the log cannot be reached.
    pub(crate) async fn read_on(
        &self,
        stream: &Stream,
        after: Version,
    ) -> Result<Vec<Entry>, LogError> {
        self.read(stream, after, CATCH_UP_ENTRIES).await
    }

    /// Returns the first entry of a stream after a version that is still held.
    pub(crate) async fn next(
        &self,
        stream: &Stream,
        after: Version,
    ) -> Result<Option<Entry>, LogError> {
        Ok(self.read(stream, after, 1).await?.into_iter().next())
    }

    /// Returns a stream's newest place, and waits for as long as the log cannot be reached.
    pub(crate) async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        let mut patience = Patience::default();
        loop {
            match self.log.tip(stream).await {
                Ok(tip) => return Ok(tip),
                Err(error) => patience.wait_out(stream, error).await?,
            }
        }
    }

    async fn read(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let mut patience = Patience::default();
        loop {
            match self.log.read_stream(stream, after, limit).await {
                Ok(entries) => return Ok(entries),
                Err(error) => patience.wait_out(stream, error).await?,
            }
        }
    }
}

/// How long to wait for the log next time.
pub(crate) struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(RETRY_MIN)
    }
}

impl Patience {
    /// Waits, longer each time, for what may pass; gives back what will not.
    pub(crate) async fn wait_out(
        &mut self,
        stream: &impl fmt::Display,
        error: LogError,
    ) -> Result<(), LogError> {
        match error {
            LogError::OutcomeUnknown | LogError::Unavailable(_) | LogError::Full => {
                if self.0 == RETRY_MIN {
                    tracing::warn!(%stream, %error, "waiting for the log");
                }
                self.pause().await;
                Ok(())
            }
            LogError::Conflict { .. }
            | LogError::KeyReused
            | LogError::Damaged { .. }
            | LogError::TooLarge => Err(error),
        }
    }

    /// Waits, longer each time.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_MAX);
    }
}

/// Returns the name of an entry: its stream, what kind it is of, and what tells it from others.
pub fn name(stream: &Stream, kind: &str, input: &[u8]) -> Vec<u8> {
    let mut name = format!("{stream}/{kind}/").into_bytes();
    name.extend(input);
    name
}
