//! A line to a log in memory, on which each question takes a while, and answers get lost.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use eventlog::log::{Durability, ReadLog, Tip};
use eventlog::memory::Memory;
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::*;

/// What happens to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It arrives, and its answer too.
    None,
    /// It never arrives, and nobody knows.
    Lost,
    /// It arrives, and its answer is lost.
    Unheard,
    Unreachable,
    Full,
    Damaged,
}

pub(crate) struct Line {
    pub(crate) log: Arc<Memory>,
    /// What happens to the next appends that are no refusals; after these, nothing bad.
    faults: Mutex<VecDeque<Fault>>,
    /// What happens to the next appends of refusals.
    faults_of_refusals: Mutex<VecDeque<Fault>>,
    /// Entries that others put in just before the next appends, one each.
    rivals: Mutex<VecDeque<Draft>>,
    /// Appends to this stream wait for a permit each.
    gate: Mutex<Option<Stream>>,
    pub(crate) permits: Semaphore,
    pub(crate) appends: AtomicUsize,
    pub(crate) reads: AtomicUsize,
    /// How often each question waits before it arrives, and its answer before it is heard.
    waits: usize,
    has_lost_its_end: AtomicBool,
    /// Whether what is in a stream cannot be read, only how far it goes.
    is_unreadable: AtomicBool,
}

impl Line {
    pub(crate) fn new(log: &Arc<Memory>, waits: usize) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::clone(log),
            faults: Mutex::default(),
            faults_of_refusals: Mutex::default(),
            rivals: Mutex::default(),
            gate: Mutex::default(),
            permits: Semaphore::new(0),
            appends: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            waits,
            has_lost_its_end: AtomicBool::new(false),
            is_unreadable: AtomicBool::new(false),
        })
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// From here on nothing bad happens.
    pub(crate) fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    pub(crate) fn lose_the_end(&self) {
        self.has_lost_its_end.store(true, Ordering::Relaxed);
    }

    pub(crate) fn make_unreadable(&self, is_so: bool) {
        self.is_unreadable.store(is_so, Ordering::Relaxed);
    }

    pub(crate) fn fail_refusals(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults_of_refusals.lock().unwrap().extend(faults);
    }

    pub(crate) fn let_in_before(&self, rivals: impl IntoIterator<Item = Draft>) {
        self.rivals.lock().unwrap().extend(rivals);
    }

    pub(crate) fn hold_up(&self, account: &AccountId) {
        self.hold_up_at(Stream::Account(account.clone()));
    }

    pub(crate) fn hold_up_at(&self, stream: Stream) {
        *self.gate.lock().unwrap() = Some(stream);
    }

    /// Returns how many appends and reads there were since this was asked last.
    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.appends.swap(0, Ordering::Relaxed), self.reads.swap(0, Ordering::Relaxed))
    }

    async fn travel(&self) {
        for _ in 0..self.waits {
            yield_now().await;
        }
    }

    async fn to_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.travel().await;
    }
}

#[async_trait]
impl ReadLog for Line {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.to_read().await;
        self.log.read(after, limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.to_read().await;
        if self.is_unreadable.load(Ordering::Relaxed) {
            return Err(LogError::Unavailable("no answer".to_owned()));
        }
        let entries = self.log.read_stream(stream, after, limit).await;
        self.travel().await;
        entries
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.to_read().await;
        self.log.last(stream).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.to_read().await;
        let tip = self.log.tip(stream).await;
        self.travel().await;
        if self.has_lost_its_end.load(Ordering::Relaxed) { Ok(None) } else { tip }
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.log.floor().await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.log.head().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.log.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }
}

#[async_trait]
impl EventLog for Line {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.travel().await;
        let is_refusal = matches!(draft.stream, Stream::Refusals(_));
        let is_held_up = self.gate.lock().unwrap().as_ref() == Some(&draft.stream);
        if is_held_up {
            self.permits.acquire().await.unwrap().forget();
        }
        let rival = if is_refusal { None } else { self.rivals.lock().unwrap().pop_front() };
        if let Some(rival) = rival {
            self.log.append(rival, Expected::Any).await.unwrap();
        }
        let faults = if is_refusal { &self.faults_of_refusals } else { &self.faults };
        let fault = faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let answer = match fault {
            Fault::None => self.log.append(draft, expected).await,
            Fault::Lost => Err(LogError::OutcomeUnknown),
            Fault::Unheard => {
                drop(self.log.append(draft, expected).await);
                Err(LogError::OutcomeUnknown)
            }
            Fault::Unreachable => Err(LogError::Unavailable("no answer".to_owned())),
            Fault::Full => Err(LogError::Full),
            Fault::Damaged => {
                let reason = "as the test has it".to_owned();
                Err(LogError::Damaged { offset: Offset(1), reason })
            }
        };
        self.travel().await;
        answer
    }
}
