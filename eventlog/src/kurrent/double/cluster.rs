//! What all nodes share: the store, who leads, who is there, what goes wrong, and what was counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::kurrent::double::access::User;
use crate::kurrent::double::appending::{Appended, Expected};
use crate::kurrent::double::faults::Faults;
use crate::kurrent::double::store::{Event, Store};

/// The largest append, in bytes, that a server takes when nobody told it otherwise.
pub(crate) const APPEND_BYTES_MAX: usize = 1_048_576;

/// A node as the others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) port: u16,
    pub(crate) alive: bool,
    /// The records that it has, when it does not follow the leader.
    pub(crate) lags_at: Option<usize>,
}

/// An append that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) stream: String,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug)]
struct Inside {
    store: Store,
    members: Vec<Member>,
    leader: Option<usize>,
    faults: Faults,
    held: Vec<Held>,
    calls: BTreeMap<&'static str, usize>,
    appends_stored: usize,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    inside: Mutex<Inside>,
    /// Goes up with every change of the store, for those who follow it.
    changes: watch::Sender<u64>,
    pub(crate) users: Vec<User>,
}

impl Cluster {
    pub(crate) fn new(ports: &[u16], users: Vec<User>) -> Self {
        let members =
            ports.iter().map(|port| Member { port: *port, alive: false, lags_at: None }).collect();
        let inside = Inside {
            store: Store::new(),
            members,
            leader: Some(0),
            faults: Faults::default(),
            held: Vec::new(),
            calls: BTreeMap::new(),
            appends_stored: 0,
        };
        Self { inside: Mutex::new(inside), changes: watch::Sender::new(0), users }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Whoever panicked was a test: the others may still read.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the store as a node has it, with the number of records that it has.
    pub(crate) fn look<T>(&self, node: usize, look: impl FnOnce(&Store, usize) -> T) -> T {
        let inside = self.inside();
        let lags_at = inside.members.get(node).and_then(|member| member.lags_at);
        let until = inside.store.records.len();
        look(&inside.store, lags_at.map_or(until, |lags_at| lags_at.min(until)))
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let changed = change(&mut self.inside().store);
        self.changes.send_modify(|count| *count += 1);
        changed
    }

    /// Puts in what a client appends.
    pub(crate) fn append(&self, stream: &str, expected: Expected, events: Vec<Event>) -> Appended {
        let count = events.len();
        let appended = self.change(|store| store.append(stream, expected, events));
        if matches!(appended, Appended::There { written: true, .. }) {
            self.inside().appends_stored += count;
        }
        appended
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn count_call(&self, method: &'static str) {
        *self.inside().calls.entry(method).or_default() += 1;
    }

    pub(crate) fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.inside().calls.clone()
    }

    pub(crate) fn appends_stored(&self) -> usize {
        self.inside().appends_stored
    }

    pub(crate) fn faults<T>(&self, use_them: impl FnOnce(&mut Faults) -> T) -> T {
        use_them(&mut self.inside().faults)
    }

    pub(crate) fn hold(&self, held: Held) {
        self.inside().held.push(held);
    }

    pub(crate) fn take_held(&self) -> Vec<Held> {
        std::mem::take(&mut self.inside().held)
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.inside().members.clone()
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        self.inside().leader
    }

    pub(crate) fn lead(&self, node: Option<usize>) {
        let mut inside = self.inside();
        // Who leads has everything.
        if let Some(member) = node.and_then(|node| inside.members.get_mut(node)) {
            member.lags_at = None;
        }
        inside.leader = node;
    }

    pub(crate) fn alive(&self, node: usize, alive: bool) {
        if let Some(member) = self.inside().members.get_mut(node) {
            member.alive = alive;
        }
    }

    pub(crate) fn lag(&self, node: usize, lags: bool) {
        let mut inside = self.inside();
        let until = inside.store.records.len();
        if let Some(member) = inside.members.get_mut(node) {
            member.lags_at = lags.then_some(until);
        }
        drop(inside);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns the error that a node answers which a client takes for the leader, wrongly.
    pub(crate) fn check_leader(&self, node: usize, metadata: &MetadataMap) -> Result<(), Status> {
        let wants_leader = metadata.get("requires-leader").is_some_and(|wants| wants == "true");
        let inside = self.inside();
        let Some(leader) = inside.leader else {
            return if wants_leader { Err(not_ready()) } else { Ok(()) };
        };
        if leader == node || !wants_leader {
            return Ok(());
        }
        let port = inside.members.get(leader).map_or(0, |member| member.port);
        let mut status = Status::not_found(format!("Leader info available: 127.0.0.1:{port}"));
        let metadata = status.metadata_mut();
        metadata.insert("exception", "not-leader".parse().expect("plain text"));
        metadata.insert("leader-endpoint-host", "127.0.0.1".parse().expect("plain text"));
        metadata.insert("leader-endpoint-port", port.into());
        Err(status)
    }
}

/// What a node answers that cannot do its work.
pub(crate) fn not_ready() -> Status {
    Status::unavailable("Server Is Not Ready")
}
