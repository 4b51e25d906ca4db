//! How the log fares: what its leader says of it each second, and what appends have heard since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{self, Instant, MissedTickBehavior};

use crate::entry::Offset;
use crate::log::Standing;
use crate::nats::broker::{Fault, Info, codes};
use crate::nats::{Shared, durability, settings};
use crate::stream::Log;

/// How often the leader is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Questions without an answer until the log counts as down: one may be lost.
const SILENT_MAX: u32 = 2;
/// Times that a replica is told to be behind until that is worth a word: each is for a moment.
const BEHIND_MAX: u32 = 3;
/// How long a broker that could not store an entry counts as one that cannot, when nobody has tried
/// since.
const UNABLE_FOR: Duration = Duration::from_secs(30);
/// Entries in a row that were sent and not stored until that is told: one may be late.
const UNSTORED_MAX: u32 = 2;
/// How often tips are kept that are not kept yet, and how often at least while they live.
const KEEP_EVERY: Duration = Duration::from_secs(10);
const KEEP_IN_A_LIFE: u32 = 4;
/// How often it is made sure that those which were kept still are.
const KEEP_AGAIN_EVERY: Duration = Duration::from_mins(30);

const START_THEM: &str = "see which NATS nodes run, and start those that do not: a majority of the \
                          stream's replicas must; the engine goes on by itself then";

pub(super) struct Faring {
    state: Mutex<State>,
}

struct State {
    told: Standing,
    /// Why entries were not stored, and when that was heard.
    unable: Option<(String, Instant)>,
    /// Entries in a row of whose storing nothing was heard, though the leader answers.
    unstored: u32,
}

impl Faring {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { told: Standing::Good, unable: None, unstored: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is put in whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// An append was told that there is no space.
    pub(super) fn heard_of_full(&self, text: &str) {
        self.faring.state().unable = Some((text.to_owned(), Instant::now()));
    }

    /// An entry was sent, no word came, and it is not there. So does a server whose disk is full: it
    /// answers all questions, and says nothing to what it cannot store.
    pub(super) fn heard_of_unstored(&self) {
        let mut state = self.faring.state();
        state.unstored = state.unstored.saturating_add(1);
        if state.unstored >= UNSTORED_MAX {
            let text = "it answers, and does not store what it is sent".to_owned();
            let text = state.unable.take().map_or(text, |(text, _)| text);
            state.unable = Some((text, Instant::now()));
        }
    }

    /// An append was stored.
    pub(super) fn heard_of_no_fault(&self) {
        let mut state = self.faring.state();
        (state.unable, state.unstored) = (None, 0);
    }

    pub(super) fn standing(&self) -> Standing {
        if !self.broker.is_connected() {
            return not_connected();
        }
        let state = self.faring.state();
        match &state.unable {
            Some((text, since)) if since.elapsed() < UNABLE_FOR => Standing::Down {
                reason: format!("NATS cannot store entries: {text}"),
                advice: Some(
                    "look at /healthz of each NATS node; free space on the volume of one that \
                     has none, and restart that node: it does not heal by itself"
                        .to_owned(),
                ),
            },
            _ => state.told.clone(),
        }
    }

    /// Asks the servers why, where entries are not stored and the servers can be asked.
    async fn ask_for_trouble(&self) {
        if self.faring.state().unable.is_none() {
            return;
        }
        for monitor in &self.options.monitors {
            let Some(trouble) = durability::trouble(monitor).await else { continue };
            if let Some((text, _)) = &mut self.faring.state().unable {
                *text = trouble;
            }
        }
    }

    /// Notes what the leader says.
    pub(super) fn note(&self, info: &Info) {
        if self.names().log == Log::Market {
            let floor = Offset(info.state.first_seq.saturating_sub(1));
            self.floor.send_replace(floor);
            self.ring.drop_up_to(floor);
        }
    }
}

pub(super) struct Monitor {
    pub(super) shared: Arc<Shared>,
    silent: u32,
    behind: u32,
}

impl Monitor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, silent: 0, behind: 0 }
    }

    /// Looks for ever.
    pub(super) async fn run(mut self) {
        let mut ticks = time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut are_tips_known = false;
        let mut kept_at: Option<Instant> = None;
        let mut all_kept_at = Instant::now();
        loop {
            ticks.tick().await;
            if let Some(told) = self.look().await {
                self.tell(told);
            }
            self.shared.ask_for_trouble().await;
            if kept_at.is_none_or(|at| at.elapsed() >= self.keep_every()) {
                kept_at = Some(Instant::now());
                are_tips_known = are_tips_known || self.shared.learn_tips().await.is_ok();
                if all_kept_at.elapsed() >= KEEP_AGAIN_EVERY {
                    all_kept_at = Instant::now();
                    self.shared.tips.keep_again();
                }
                if let Err(error) = self.shared.tips.keep_all().await {
                    tracing::warn!(%error, "the tips of market streams cannot be kept");
                }
            }
        }
    }

    fn keep_every(&self) -> Duration {
        match self.shared.options.market_age {
            Duration::ZERO => KEEP_EVERY,
            age => KEEP_EVERY.min(age / KEEP_IN_A_LIFE),
        }
    }

    fn tell(&self, told: Standing) {
        let before = std::mem::replace(&mut self.shared.faring.state().told, told.clone());
        if before == told {
            return;
        }
        let log = self.shared.log();
        match told {
            Standing::Good => tracing::info!(%log, "the log is well again"),
            Standing::Down { reason, advice } => {
                tracing::error!(%log, reason, advice, "the log is down");
            }
            Standing::Degraded { reason, advice } => {
                tracing::warn!(%log, reason, advice, "the log is degraded");
            }
        }
    }

    /// Returns how the log fares; nothing as long as that is open.
    async fn look(&mut self) -> Option<Standing> {
        let shared = Arc::clone(&self.shared);
        if !shared.broker.is_connected() {
            return Some(not_connected());
        }
        let newest = *shared.ring.newest().borrow();
        let stream = &shared.names().stream;
        match shared.broker.info().await {
            Ok(info) => {
                self.silent = 0;
                shared.note(&info);
                Some(self.judge(&info, newest))
            }
            Err(Fault::No { code: codes::STREAM_NOT_FOUND, .. }) => Some(down(
                format!("NATS has no stream {stream}"),
                "bring back the volumes of the NATS nodes, or a copy of the log; a new one is made \
                 by `entasis log create`",
            )),
            Err(Fault::No { code, text }) => {
                Some(down(format!("NATS says: {text} ({code})"), START_THEM))
            }
            Err(Fault::Unsent(_) | Fault::Silence(_)) => {
                self.silent = self.silent.saturating_add(1);
                let reason = || format!("the leader of the NATS stream {stream} does not answer");
                (self.silent >= SILENT_MAX).then(|| down(reason(), START_THEM))
            }
        }
    }

    fn judge(&mut self, info: &Info, newest: Offset) -> Standing {
        let shared = &self.shared;
        let stream = &shared.names().stream;
        if info.state.last_seq < newest.0 {
            return down(
                format!(
                    "the NATS stream {stream} ends at {}, and entry {newest} was read: \
                     acknowledged entries are gone",
                    info.state.last_seq
                ),
                "stop the engines, and bring back the volumes of the NATS nodes or a copy",
            );
        }
        let missing = info.state.num_deleted;
        if missing > 0 {
            return degraded(
                format!("{missing} messages are missing within the NATS stream {stream}"),
                "somebody has deleted them: bring back a copy of the log",
            );
        }
        let drift =
            settings::drift(&settings::needed(shared.names(), &shared.options), &info.config);
        if !drift.is_empty() {
            return degraded(
                format!("the NATS stream {stream} was changed: {}", drift.join("; ")),
                "put its settings back, and find out who may change them: the engine's user must \
                 not",
            );
        }
        self.judge_replicas(info)
    }

    fn judge_replicas(&mut self, info: &Info) -> Standing {
        let stream = &self.shared.names().stream;
        let Some(cluster) = &info.cluster else { return Standing::Good };
        if cluster.leader.is_none() {
            return down(format!("the NATS stream {stream} has no leader"), START_THEM);
        }
        let wanted = self.shared.options.replicas.saturating_sub(1);
        let away: Vec<_> = cluster.replicas.iter().filter(|it| it.offline).collect();
        let behind = cluster.replicas.iter().find(|it| !it.current);
        self.behind = if behind.is_some() { self.behind.saturating_add(1) } else { 0 };
        if let Some(replica) = away.first() {
            return degraded(
                format!("the replica of {stream} on NATS node {} is away", replica.name),
                &format!("start NATS node {}", replica.name),
            );
        }
        if let Some(replica) = behind.filter(|_| self.behind >= BEHIND_MAX) {
            return degraded(
                format!("the replica of {stream} on NATS node {} is behind", replica.name),
                &format!(
                    "see whether NATS node {} runs and has space; one that has said `critical \
                     write error` needs a restart",
                    replica.name
                ),
            );
        }
        if cluster.replicas.len() < wanted {
            let has = cluster.replicas.len() + 1;
            return degraded(
                format!("the NATS stream {stream} has {has} replicas, not {}", wanted + 1),
                "add NATS nodes to the cluster",
            );
        }
        Standing::Good
    }
}

fn not_connected() -> Standing {
    down("there is no connection to NATS".to_owned(), START_THEM)
}

fn down(reason: String, advice: &str) -> Standing {
    Standing::Down { reason, advice: Some(advice.to_owned()) }
}

fn degraded(reason: String, advice: &str) -> Standing {
    Standing::Degraded { reason, advice: Some(advice.to_owned()) }
}
