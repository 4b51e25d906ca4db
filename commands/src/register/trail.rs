//! What is recorded of who came to the door: the stream `access-{node}`.
//!
//! Nobody can fill the disk with it: what comes too fast, from one address or from all together, is
//! counted instead (`trail/flood`), and what is left here waits to be written in few entries
//! (`trail/waiting`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use domain::access::event::AccessEvent;
use domain::event::Event;
use domain::keys::key::KeyId;
use domain::keys::{KEYS_MAX, REVOKED_KNOWN_MAX};
use domain::name::NodeId;
use domain::time::{DAY, Timestamp};
use eventlog::entry::{Actor, Draft};
use eventlog::log::{EventLog, Expected, LogError};
use eventlog::stream::Stream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::clock::Clock;
use crate::desk::appending::{self, Attempt};
use crate::pen::{Patience, Pen, name};
use crate::register::trail::flood::WINDOW;
use crate::register::trail::waiting::Waiting;

pub mod flood;

pub mod waiting;

/// Time from one entry to the next.
const REST: Duration = Duration::from_millis(200);

/// How long what still waits is written after the end was asked for. Then it is lost, and a line of
/// the log says how much.
pub const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Keys of which the last day of use is known. When there are more, those that were not used today
/// are forgotten.
const USED_MAX: usize = KEYS_MAX + REVOKED_KNOWN_MAX;

/// Names of what is recorded at once are made in this namespace, those of the commands behind it in
/// the other.
const RECORDS: Uuid = Uuid::from_u128(0x93b5_20c8_4e7f_5d16_b8a4_17de_509c_62f3);
const COMMANDS: Uuid = Uuid::from_u128(0xe85a_6f17_c203_5498_9d3b_f2c4_06b1_7ea9);

/// Where the door leaves what is to be recorded.
pub struct Trail {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    stream: Stream,
    actor: Actor,
    waiting: Mutex<Waiting>,
    /// The last day on which each key was used.
    used: RwLock<BTreeMap<KeyId, Timestamp>>,
    /// Rung when there is something to write.
    bell: Notify,
}

impl Trail {
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, node: NodeId) -> Self {
        let [principal, role, via] = ["node", "engine", "trail"].map(str::to_owned);
        Self {
            log,
            clock,
            stream: Stream::Access(node),
            actor: Actor { principal, role, via },
            waiting: Mutex::default(),
            used: RwLock::default(),
            bell: Notify::new(),
        }
    }

    /// Leaves an event to be written soon, in order. Never waits. `address` is whose flood it would
    /// be; events without one (that follow from what somebody did who may) are never counted away.
    pub fn note(&self, address: Option<IpAddr>, event: AccessEvent) {
        let Some(address) = address else {
            self.leave(event);
            return;
        };
        let now = (self.clock.now(), Instant::now());
        if self.waiting().note(address, event, now) {
            self.bell.notify_one();
        }
    }

    /// Notes that a key was used, once for each UTC day. Never waits, and costs next to nothing.
    pub fn used(&self, key: &KeyId, at: Timestamp) {
        let day = at.floor(DAY);
        let is_known =
            |used: &BTreeMap<KeyId, Timestamp>| used.get(key).is_some_and(|known| *known >= day);
        if is_known(&self.used.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut used = self.used.write().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= USED_MAX {
            used.retain(|_, known| *known >= day);
        }
        // What is not left, or not remembered, is noted at the next use.
        if used.len() < USED_MAX
            && !is_known(&used)
            && self.leave(AccessEvent::ApiKeyUsed { at, key: key.clone() })
        {
            used.insert(key.clone(), day);
        }
    }

    /// Writes an event, and returns once it is durable.
    pub async fn record(&self, event: AccessEvent) -> Result<(), LogError> {
        let correlation_id = request_id(&event).map(str::to_owned);
        let events = vec![Event::Access(event)];
        let name = self.waiting().name(self.clock.now(), &events);
        let draft = Draft {
            stream: self.stream.clone(),
            append_id: Uuid::new_v5(&RECORDS, &name),
            command_id: Uuid::new_v5(&COMMANDS, &name),
            recorded_at: self.clock.now(),
            actor: self.actor.clone(),
            correlation_id,
            causation: None,
            events,
        };
        let Attempt { outcome, .. } = appending::append(&*self.log, &draft, Expected::Any).await;
        outcome.map(drop)
    }

    /// Writes what is left to be written until `stop`, and then what still waits. Returns only with
    /// an error that does not pass.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) -> Result<(), LogError> {
        tokio::select! {
            biased;
            () = stop => {}
            ended = self.keep_writing() => match ended {
                Ok(never) => match never {},
                Err(error) => return Err(error),
            },
        }
        if let Ok(written) = timeout(STOP_PATIENCE, self.write_all()).await {
            return written;
        }
        let (lost, counted) = {
            let waiting = self.waiting();
            (waiting.len(), waiting.counted())
        };
        let stream = &self.stream;
        tracing::warn!(%stream, lost, counted, "the log did not take the trail's end");
        Ok(())
    }

    async fn keep_writing(&self) -> Result<Infallible, LogError> {
        loop {
            self.due().await;
            self.waiting().fill(self.clock.now(), Some(Instant::now()));
            self.write().await?;
        }
    }

    async fn write_all(&self) -> Result<(), LogError> {
        while self.waiting().fill(self.clock.now(), None) {
            self.write().await?;
        }
        Ok(())
    }

    /// Waits until it is time for the next entry.
    async fn due(&self) {
        loop {
            let (is_any, is_counting) = {
                let waiting = self.waiting();
                (waiting.len() > 0, waiting.is_counting())
            };
            if is_any {
                sleep(REST).await;
                return;
            }
            tokio::select! {
                () = self.bell.notified() => {}
                () = sleep(WINDOW), if is_counting => return,
            }
        }
    }

    /// Writes what is in hand, for as long as it takes. Whoever drops this half way leaves it in
    /// hand, under its name: written again it is written once.
    async fn write(&self) -> Result<(), LogError> {
        let Some((input, events)) = self.waiting().in_hand() else { return Ok(()) };
        let pen = Pen { log: &*self.log, clock: &*self.clock, actor: &self.actor };
        let name = name(&self.stream, "trail", &input);
        let mut patience = Patience::default();
        while pen.put(&self.stream, &name, events.clone(), Expected::Any).await?.is_none() {
            // Nothing was expected, so there is nothing to decide anew.
            patience.pause().await;
        }
        self.waiting().written();
        Ok(())
    }

    /// Leaves an event that is not counted away; false when there is no room at all.
    fn leave(&self, event: AccessEvent) -> bool {
        let is_left = self.waiting().leave(event);
        self.bell.notify_one();
        is_left
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves whole events: each is pushed in one step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request_id(event: &AccessEvent) -> Option<&str> {
    match event {
        AccessEvent::AuthenticationFailed { request_id, .. }
        | AccessEvent::AddressDenied { request_id, .. }
        | AccessEvent::TokenIssued { request_id, .. }
        | AccessEvent::RecordsRead { request_id, .. } => Some(request_id),
        AccessEvent::FailuresCounted { .. } | AccessEvent::ApiKeyUsed { .. } => None,
    }
}

#[cfg(test)]
mod tests;
