//! Where sessions and the broadcaster meet: the topics that somebody listens to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use eventlog::entry::{Hash, Offset};
use eventlog::log::{LogError, ReadLog};
use projections::books::Books;
use projections::candles::Candles;
use projections::prices::Prices;
use projections::view::View;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::settings::WsSettings;
use crate::ws::bell::Listener;
use crate::ws::owners::Owners;
use crate::ws::roster::Roster;
use crate::ws::topic::{RingLimits, Topic, TopicKey};

/// Topics that are kept although nobody listens, for those who come back. Beyond it the one that is
/// idle for longest goes; whoever comes back to it starts from a snapshot.
const IDLE_TOPICS_MAX: usize = 256;

/// Digits of an epoch.
const EPOCH_DIGITS: usize = 16;

#[derive(Debug)]
pub struct Hub {
    limits: RingLimits,
    topics_max: usize,
    topics: Mutex<BTreeMap<TopicKey, Arc<Topic>>>,
    /// Counts changes of `topics`.
    changes: AtomicU64,
    changed: Notify,
    epoch: OnceLock<String>,
    /// What the epoch is called before there is an entry to name it. Drawn at the start: nobody can
    /// have it from elsewhere.
    first_epoch: String,
    sessions: AtomicU64,
    owners: Arc<Owners>,
    roster: Arc<Roster>,
}

impl Hub {
    pub fn new(settings: &WsSettings) -> Self {
        Self {
            limits: RingLimits::of(settings),
            topics_max: settings.topics_max,
            topics: Mutex::default(),
            changes: AtomicU64::new(0),
            changed: Notify::new(),
            epoch: OnceLock::new(),
            first_epoch: name(&format!("empty {}", settings.lot)),
            sessions: AtomicU64::new(0),
            owners: Arc::default(),
            roster: Arc::default(),
        }
    }

    /// Lets somebody listen to a topic, which is begun for it where there is none. Returns it, and
    /// the number with which to leave; `None` when as many are told as can be.
    pub fn join(&self, key: &TopicKey, listener: Arc<Listener>) -> Option<(Arc<Topic>, u64)> {
        let mut topics = self.topics();
        let topic = if let Some(topic) = topics.get(key) {
            Arc::clone(topic)
        } else {
            if topics.len() >= self.topics_max {
                topics.retain(|_, topic| topic.idle_since().is_none());
            }
            if topics.len() >= self.topics_max {
                return None;
            }
            let topic = Arc::new(Topic::new(key.clone(), self.limits));
            topics.insert(key.clone(), Arc::clone(&topic));
            self.changes.fetch_add(1, Ordering::Release);
            self.changed.notify_one();
            topic
        };
        // Under the lock, so that a sweep cannot take the topic away in between.
        let number = topic.join(listener);
        drop(topics);
        Some((topic, number))
    }

    /// Returns all topics when they have changed since `seen`, which then stands for now.
    pub fn changed_since(&self, seen: &mut u64) -> Option<Vec<Arc<Topic>>> {
        let topics = self.topics();
        let changes = self.changes.load(Ordering::Acquire);
        (std::mem::replace(seen, changes) != changes).then(|| topics.values().cloned().collect())
    }

    /// Returns when topics have come since the last time.
    pub async fn changes(&self) {
        self.changed.notified().await;
    }

    /// Lets go of topics to which nobody has listened for as long as a ring remembers.
    pub fn sweep(&self, now: Instant) {
        let mut topics = self.topics();
        let idle_since = |topic: &Arc<Topic>| Some((topic.idle_since()?, topic.key.clone()));
        let mut idle: Vec<_> = topics.values().filter_map(idle_since).collect();
        idle.sort();
        let beyond = idle.len().saturating_sub(IDLE_TOPICS_MAX);
        for (place, (since, key)) in idle.iter().enumerate() {
            if place < beyond || now.duration_since(*since) > self.limits.age_max {
                topics.remove(key);
                self.changes.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Returns the name of this log as these views read it: sequences of another epoch mean nothing.
    pub async fn epoch(&self, market: &dyn ReadLog) -> Result<String, LogError> {
        if let Some(epoch) = self.epoch.get() {
            return Ok(epoch.clone());
        }
        let first = market.read(Offset(0), 1).await?.into_iter().next();
        Ok(match first {
            Some(first) => self.epoch.get_or_init(|| name(&first.hash.to_string())).clone(),
            None => self.first_epoch.clone(),
        })
    }

    /// Whether sequences of one epoch mean the same in the other, which is ours. Who listened before
    /// there was an entry was told our first name.
    pub fn is_ours(&self, epoch: &str, ours: &str) -> bool {
        epoch == ours || epoch == self.first_epoch
    }

    /// Returns those who listen to an account of their own.
    pub const fn owners(&self) -> &Arc<Owners> {
        &self.owners
    }

    /// Returns those who have said whose they are.
    pub const fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Returns the number of a session: 1, 2, 3…
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<TopicKey, Arc<Topic>>> {
        // A map is whole after every step.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(first: &str) -> String {
    let revisions = (Prices::REVISION, Books::REVISION, Candles::REVISION);
    let hash = Hash::of(format!("{first} {revisions:?}").as_bytes()).to_string();
    hash.chars().take(EPOCH_DIGITS).collect()
}
