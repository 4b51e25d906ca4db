//! A log: whether it can be reached, what an entry survives there, and how we know.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use eventlog::entry::Offset;
use eventlog::kurrent::TESTED;
use eventlog::log::{Durability, Standing};
use eventlog::stream::Log;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::configuration::{Configuration, Retention};
use crate::doctor::finding::Finding;
use crate::logs::{LogUrl, Opener, survived};

/// How long a log may take to open and to tell its head. One that is away is given up by its adapter
/// after ten seconds, with a word on why; this is for one that does not even do that.
const PATIENCE: Duration = Duration::from_secs(12);

/// What several nodes do not have in common where their ledger is in KurrentDB.
const APART: &str = "several nodes on KurrentDB do not speak to each other: each counts the requests of \
                     an account by itself, and a WebSocket ticket is good where it was got";

/// What there is of a log.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing: no house has begun it.
    Nothing,
    Open {
        durability: Durability,
        standing: Standing,
        head: Offset,
    },
    /// It does not open, and why.
    Closed(String),
}

pub(super) async fn look(opener: &Opener, url: &LogUrl, log: Log) -> Found {
    match timeout(PATIENCE, find(opener, url, log)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Found::Closed(format!("{error:#}")),
        Err(_) => Found::Closed(format!("it does not open within {} s", PATIENCE.as_secs())),
    }
}

async fn find(opener: &Opener, url: &LogUrl, log: Log) -> Result<Found> {
    let is_begun = match url {
        LogUrl::Embedded(folder) => holds_anything(&folder.join(log.as_str()))?,
        LogUrl::Nats(servers) => opener.is_made(servers, log).await?,
        // There is nothing to begin.
        LogUrl::Kurrent(_) => true,
    };
    if !is_begun {
        return Ok(Found::Nothing);
    }
    // As a reader: the lock of a house that runs is not asked for.
    let reader = opener.open_stored(url, log).await?;
    let head = reader.head().await?;
    Ok(Found::Open { durability: reader.durability(), standing: reader.standing(), head })
}

fn holds_anything(folder: &Path) -> Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut files) => Ok(files.next().is_some()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}

/// What a log is to be.
pub(super) struct Asked<'a> {
    pub(super) log: Log,
    pub(super) url: &'a LogUrl,
    /// What an acknowledged entry must survive.
    pub(super) durability_min: Option<Durability>,
    pub(super) retention: Retention,
    /// Whether a start makes it at a broker.
    pub(super) is_made_by_start: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn of(configuration: &'a Configuration, log: Log) -> Self {
        Self {
            log,
            url: configuration.log(log),
            // It is demanded for commands.
            durability_min: configuration.durability_min.filter(|_| log == Log::Ledger),
            retention: configuration.retention,
            is_made_by_start: configuration.nats.create,
        }
    }

    /// Returns all that is to be said of the log, the worst not first.
    pub(super) fn judge(&self, found: &Found) -> Vec<Finding> {
        let mut findings = vec![self.of_place(found)];
        if let Found::Open { durability, .. } = found {
            findings.push(self.of_durability(*durability));
        }
        findings.push(self.of_trials());
        if self.log == Log::Market {
            findings.push(self.of_retention());
        }
        if self.log == Log::Ledger && matches!(self.url, LogUrl::Kurrent(_)) {
            findings.push(Finding::ok(self.log.as_str(), APART));
        }
        findings
    }

    /// Returns the same for a program.
    pub(super) fn told(&self, found: &Found) -> Value {
        let (state, durability, head) = match found {
            Found::Nothing => ("absent", None, None),
            Found::Open { durability, head, .. } => ("open", Some(durability), Some(head)),
            Found::Closed(_) => ("closed", None, None),
        };
        let backend = self.url.backend();
        let mut told = json!({
            "url": self.url.to_string(),
            "backend": backend.name,
            "state": state,
            "durability": durability,
            "head": head,
        });
        if let (Some(keys), Some(tested)) = (told.as_object_mut(), backend.tested) {
            keys.insert("tested".to_owned(), json!(tested));
        }
        told
    }

    fn of_place(&self, found: &Found) -> Finding {
        let (about, url) = (self.log.as_str(), self.url);
        let standing = match found {
            Found::Open { standing, .. } => standing,
            Found::Nothing => match url {
                LogUrl::Nats(_) if !self.is_made_by_start => {
                    let said =
                        format!("{url}: the broker does not hold it, and nats.create = false");
                    let advice = "make it with `entasis log create`, as a user who may";
                    return Finding::problem(about, said, advice);
                }
                _ => return Finding::ok(about, format!("{url}: nothing yet, a start makes it")),
            },
            Found::Closed(why) => {
                let advice = match url {
                    LogUrl::Embedded(_) => {
                        "see what `entasis log cat` still reads; a backup comes back with \
                         `entasis restore`"
                    }
                    LogUrl::Nats(_) => {
                        "see that the broker runs and can be reached from here, and the section \
                         [nats]"
                    }
                    LogUrl::Kurrent(_) => {
                        "see that KurrentDB runs and can be reached from here, and the section \
                         [kurrent]; its authority: kurrent.tls_ca; without certificates: ?tls=false"
                    }
                };
                return Finding::problem(about, why, advice);
            }
        };
        let head = match found {
            Found::Open { head, .. } => *head,
            Found::Nothing | Found::Closed(_) => Offset(0),
        };
        let place = format!("{url}: it can be read, its head is at offset {head}");
        let and = |reason: &str| format!("{place}; {reason}");
        let to_do = |advice: Option<&str>| advice.unwrap_or("it may pass by itself").to_owned();
        match standing {
            Standing::Good => Finding::ok(about, place),
            Standing::Degraded { reason, advice } => {
                Finding::warning(about, and(reason), to_do(advice.as_deref()))
            }
            Standing::Down { reason, advice } => {
                Finding::problem(about, and(reason), to_do(advice.as_deref()))
            }
        }
    }

    fn of_durability(&self, found: Durability) -> Finding {
        let about = self.log.as_str();
        let word = format!("{found:?}").to_lowercase();
        let said = format!("durability {word}: what is acknowledged survives {}", survived(found));
        let to_do = match self.url {
            LogUrl::Embedded(_) => "give it another disk",
            LogUrl::Nats(_) => {
                "let the servers sync each write (sync_interval: always), and say so by \
                 nats.sync_always, or name nats.monitors; three replicas survive a machine"
            }
            LogUrl::Kurrent(_) => {
                "a node tells how many there are by GET /gossip; where that is shut, and with \
                 kurrent.tls_ca, which it is asked without, say it by kurrent.nodes; three nodes \
                 survive a machine"
            }
        };
        match self.durability_min {
            Some(least) if found < least => {
                let least = format!("{least:?}").to_lowercase();
                Finding::problem(about, format!("{said}; durability_min is {least}"), to_do)
            }
            _ if found < Durability::Fsync => Finding::warning(about, said, to_do),
            _ => Finding::ok(about, said),
        }
    }

    /// Says how what keeps the log was tried out.
    fn of_trials(&self) -> Finding {
        let about = self.log.as_str();
        match self.url {
            LogUrl::Embedded(_) => Finding::ok(
                about,
                "embedded: tried out by the contract suite, kill -9, a full disk, torn and damaged \
                 files",
            ),
            LogUrl::Nats(_) => Finding::ok(
                about,
                "nats: tried out by the contract suite and with faults on real servers, 2.15.1, one \
                 and three",
            ),
            LogUrl::Kurrent(_) => Finding::warning(
                about,
                format!(
                    "kurrentdb: {TESTED}; a double spoke the protocol, which proves what we send and \
                     understand, and not what a server does"
                ),
                "run `tests/contract-kurrent URL` on a server like yours before you rely on it",
            ),
        }
    }

    /// Says what is kept of the market log.
    fn of_retention(&self) -> Finding {
        let about = self.log.as_str();
        let Retention { market_days: days, market_bytes } = self.retention;
        match self.url {
            LogUrl::Kurrent(_) => Finding::ok(
                about,
                format!(
                    "kept for {days} days, however much that is: KurrentDB drops by age alone; its \
                     disks must hold it, and a scavenge there frees the space"
                ),
            ),
            LogUrl::Embedded(_) | LogUrl::Nats(_) => Finding::ok(
                about,
                format!("kept for {days} days, up to {}", gigabytes(market_bytes.into())),
            ),
        }
    }

    /// Returns how many bytes of a folder the market log may take.
    pub(super) fn bytes_max(&self) -> Option<NonZeroU64> {
        let is_here = matches!(self.url, LogUrl::Embedded(_)) && self.log == Log::Market;
        is_here.then_some(self.retention.market_bytes)
    }
}

/// Returns bytes as somebody reads them.
pub(super) fn gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}
