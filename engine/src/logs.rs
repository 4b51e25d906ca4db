//! Which log stands behind a URL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use api::settings::Backend;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use eventlog::embedded::read_only::ReadOnly;
use eventlog::embedded::{self, Embedded};
use eventlog::files::{Disk, Files};
use eventlog::keep::Keep;
use eventlog::kurrent::TESTED;
use eventlog::kurrent::address::Address;
use eventlog::log::{Durability, EventLog, ReadLog, Trim};
use eventlog::nats::{self, Nats};
use eventlog::patient::Patient;
use eventlog::stream::Log;
use eventlog::transfer::{ReadStored, Transfer};

use crate::broker::{Brokers, Servers};
use crate::configuration::kurrent::KurrentSettings;
use crate::configuration::{Configuration, DAY, Retention};
use crate::neighbours::Neighbours;

mod kurrent;

/// A place where logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogUrl {
    /// A folder, with one folder for each log in it.
    Embedded(PathBuf),
    /// A broker that keeps streams.
    Nats(Servers),
    /// A database of events: KurrentDB, or `EventStoreDB`, which is its older name.
    Kurrent(Address),
}

/// As it may be told: without a secret.
impl fmt::Display for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(folder) => write!(f, "embedded:{}", folder.display()),
            Self::Nats(servers) => servers.fmt(f),
            Self::Kurrent(address) => address.fmt(f),
        }
    }
}

impl LogUrl {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("embedded", "")) => bail!("embedded: needs a folder, such as embedded:./data"),
            Some(("embedded", folder)) => Ok(Self::Embedded(folder.into())),
            Some(("nats", servers)) if let Some(servers) = servers.strip_prefix("//") => {
                Ok(Self::Nats(Servers::parse(servers)?))
            }
            Some(("kurrentdb" | "esdb" | "kurrentdb+discover" | "esdb+discover", _)) => {
                Ok(Self::Kurrent(kurrent::address(text)?))
            }
            _ => bail!("expected embedded:FOLDER, nats://HOST:PORT or kurrentdb://HOST:PORT"),
        }
    }

    /// Returns the folder of one of the logs, where it is one.
    pub(crate) fn folder(&self, log: Log) -> Option<PathBuf> {
        match self {
            Self::Embedded(folder) => Some(folder.join(log.as_str())),
            Self::Nats(_) | Self::Kurrent(_) => None,
        }
    }

    /// Returns what keeps the logs there, as `/health` calls it.
    pub(crate) const fn backend(&self) -> Backend {
        match self {
            Self::Embedded(_) => Backend { name: "embedded", tested: None },
            Self::Nats(_) => Backend { name: "nats", tested: None },
            Self::Kurrent(_) => Backend { name: "kurrentdb", tested: Some(TESTED) },
        }
    }
}

/// Returns the files of a log, to read them, also beside a running house.
pub(crate) fn files(folder: &Path, log: Log) -> Result<Disk> {
    let none = || format!("there is no {log} log in {}", folder.display());
    let files = Disk::existing(folder).with_context(none)?;
    ensure!(!files.list().with_context(none)?.is_empty(), none());
    Ok(files)
}

/// An open log, by what is asked of it.
pub(crate) struct OpenLog {
    pub(crate) log: Arc<dyn EventLog>,
    /// `None` where the log is not ours to cut: a broker does so itself.
    pub(crate) trim: Option<Arc<dyn Trim>>,
    pub(crate) transfer: Arc<dyn Transfer>,
    /// Whether it stands behind a network, and may be away for a while.
    pub(crate) is_remote: bool,
}

impl OpenLog {
    fn embedded(log: Embedded) -> Self {
        let log = Arc::new(log);
        Self { log: log.clone(), trim: Some(log.clone()), transfer: log, is_remote: false }
    }

    fn remote<L: EventLog + Transfer + 'static>(log: L) -> Self {
        let log = Arc::new(log);
        Self { log: log.clone(), trim: None, transfer: log, is_remote: true }
    }

    /// Returns a reader for whoever waits for an answer.
    pub(crate) fn reader(&self) -> Arc<dyn ReadLog> {
        Arc::clone(&self.log) as Arc<dyn ReadLog>
    }

    /// Returns a reader for work in the background, which goes on when the log is back.
    pub(crate) fn patient(&self) -> Arc<dyn ReadLog> {
        if self.is_remote { Arc::new(Patient::new(self.reader())) } else { self.reader() }
    }
}

/// Opens logs, as configured.
pub(crate) struct Opener {
    brokers: Brokers,
    kurrent: KurrentSettings,
    retention: Retention,
    durability_min: Option<Durability>,
    /// Whether a log that a broker does not hold may be made.
    may_make: bool,
    keep: Option<Arc<dyn Keep>>,
}

impl Opener {
    pub(crate) fn of(configuration: &Configuration) -> Self {
        Self {
            brokers: Brokers::new(configuration.nats.clone(), configuration.door.node.as_str()),
            kurrent: configuration.kurrent.clone(),
            retention: configuration.retention,
            durability_min: configuration.durability_min,
            may_make: configuration.nats.create,
            keep: None,
        }
    }

    /// Opens logs for one who only brings them somewhere: how durable they must be for commands does
    /// not matter there.
    pub(crate) fn for_copies(configuration: &Configuration) -> Self {
        Self { durability_min: None, ..Self::of(configuration) }
    }

    /// Opens only what a broker holds already: a wrong name is no reason to begin a log.
    pub(crate) fn making_nothing(self) -> Self {
        Self { may_make: false, ..self }
    }

    /// Has what a broker may forget of a log kept here.
    pub(crate) fn keep(self, keep: Arc<dyn Keep>) -> Self {
        Self { keep: Some(keep), ..self }
    }

    /// Returns the way to the other nodes, where a log stands behind a broker.
    pub(crate) async fn neighbours(&self, url: &LogUrl) -> Result<Option<Neighbours>> {
        let LogUrl::Nats(servers) = url else {
            if matches!(url, LogUrl::Kurrent(_)) {
                tracing::info!(
                    "nodes on KurrentDB do not speak to each other: each counts the requests of an \
                     account by itself, and a ticket is good where it was got"
                );
            }
            return Ok(None);
        };
        let client = self.brokers.client(servers).await?;
        let prefix = servers.prefix.as_ref().unwrap_or(&self.brokers.settings().prefix);
        Ok(Some(Neighbours::new(client, prefix)))
    }

    /// Opens a log to write into it; says in the log lines what was found.
    pub(crate) async fn open(&self, url: &LogUrl, log: Log) -> Result<OpenLog> {
        let opened = match url {
            LogUrl::Embedded(folder) => open_embedded(folder, log)?,
            LogUrl::Nats(servers) => {
                OpenLog::remote(self.open_nats(servers, log, self.may_make).await?)
            }
            LogUrl::Kurrent(address) => OpenLog::remote(self.open_kurrent(address, log).await?),
        };
        let found = opened.log.durability();
        if let (Log::Ledger, Some(least)) = (log, self.durability_min) {
            ensure!(
                found >= least,
                "the {log} log in {url} keeps what is acknowledged over {}, and durability_min is \
                 {least:?}",
                survived(found)
            );
        }
        Ok(opened)
    }

    async fn open_nats(&self, servers: &Servers, log: Log, create: bool) -> Result<Nats> {
        let client = self.brokers.client(servers).await?;
        let opened = Nats::open(client, log, self.options(servers, create)).await;
        let opened = opened.with_context(|| format!("the {log} log in {servers}"))?;
        let durability = opened.durability();
        let survives = survived(durability);
        tracing::info!(%log, url = %servers, ?durability, survives, "log opened");
        Ok(opened)
    }

    /// Makes what a log needs at its broker, or holds what is there against that. Returns its name.
    pub(crate) async fn create(&self, servers: &Servers, log: Log) -> Result<String> {
        let client = self.brokers.client(servers).await?;
        let options = self.options(servers, true);
        let created = Nats::create(&client, log, &options).await;
        created.with_context(|| format!("the {log} log in {servers}"))?;
        Ok(stream_name(&options.prefix, log))
    }

    /// Whether a broker holds a log, whatever is to be said of it.
    pub(crate) async fn is_made(&self, servers: &Servers, log: Log) -> Result<bool> {
        let broker = async_nats::jetstream::new(self.brokers.client(servers).await?);
        let name = stream_name(&self.options(servers, false).prefix, log);
        match broker.get_stream(&name).await.map_err(|error| error.kind()) {
            Ok(_) => Ok(true),
            Err(GetStreamErrorKind::JetStream(said))
                if said.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(false)
            }
            Err(kind) => bail!("the stream {name}: {kind}"),
        }
    }

    fn options(&self, servers: &Servers, create: bool) -> nats::Options {
        let settings = self.brokers.settings();
        let prefix = servers.prefix.as_ref().unwrap_or(&settings.prefix);
        nats::Options {
            prefix: prefix.clone(),
            replicas: settings.replicas,
            market_age: DAY * self.retention.market_days.get(),
            market_bytes: self.retention.market_bytes.get(),
            create,
            sync_always: settings.sync_always,
            monitors: settings.monitors.clone(),
            keep: self.keep.clone(),
            ..nats::Options::default()
        }
    }

    /// Opens a log to read it, also beside a house that writes it. It must be there.
    pub(crate) async fn open_stored(&self, url: &LogUrl, log: Log) -> Result<Arc<dyn ReadStored>> {
        match url {
            LogUrl::Embedded(folder) => {
                let files = Arc::new(files(&folder.join(log.as_str()), log)?);
                let opened = ReadOnly::open(files, log);
                Ok(Arc::new(opened.with_context(|| format!("the {log} log in {url}"))?))
            }
            LogUrl::Nats(servers) => Ok(Arc::new(self.open_nats(servers, log, false).await?)),
            LogUrl::Kurrent(address) => Ok(Arc::new(self.open_kurrent(address, log).await?)),
        }
    }
}

/// Returns how a broker calls what holds a log.
fn stream_name(prefix: &str, log: Log) -> String {
    format!("{prefix}_{}", log.as_str()).to_uppercase()
}

fn open_embedded(data: &Path, log: Log) -> Result<OpenLog> {
    let folder = data.join(log.as_str());
    let named = || format!("the {log} log in {}", folder.display());
    let files = Disk::open(&folder).with_context(named)?;
    let (opened, report) =
        Embedded::open(Arc::new(files), log, embedded::Options::default()).with_context(named)?;
    match report.cut {
        None => tracing::info!(%log, entries = report.entries, "log opened"),
        Some(cut) => tracing::warn!(
            %log,
            entries = report.entries,
            segment = cut.segment,
            byte = cut.byte,
            bytes = cut.bytes,
            offset = cut.offset.0,
            "log opened; its end was not whole and has been cut"
        ),
    }
    Ok(OpenLog::embedded(opened))
}

/// Says what an acknowledged entry survives.
pub(crate) const fn survived(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "nothing: it is gone with the process",
        Durability::Os => "a crash of the process, but not a loss of power",
        Durability::Fsync => "a loss of power, but not of the disk",
        Durability::Quorum => "the loss of a machine",
    }
}

/// Reads how durable a log must be.
pub(crate) fn durability(word: &str) -> Result<Durability> {
    Ok(match word {
        "memory" => Durability::Memory,
        "os" => Durability::Os,
        "fsync" => Durability::Fsync,
        "quorum" => Durability::Quorum,
        _ => bail!("expected quorum, fsync, os or memory"),
    })
}

#[cfg(test)]
mod tests;
