//! `entasis log copy`: brings a log from one place to another, byte for byte and in its order, and
//! holds the copy against the original. Interrupted at any moment, it goes on when it is run again.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventlog::entry::{Hash, Offset};
use eventlog::header::Header;
use eventlog::log::{LogError, Tip};
use eventlog::stream::{Log, Stream};
use eventlog::transfer::{ReadStored, Stored, Transfer};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::command_line::LogCopy;
use crate::configuration::Configuration;
use crate::log_copy::course::Course;
use crate::log_copy::holding::Holding;
use crate::logs::{LogUrl, Opener};

mod course;
mod holding;

/// Entries that are read at once, and put in at once.
const BATCH_ENTRIES_MAX: usize = 1_024;

/// Batches that are read ahead. When it is full, reading waits for writing.
const AHEAD_BATCHES_MAX: usize = 4;

/// How long a log may be away before the copy gives up. Nothing is lost by then: it goes on when it is
/// run again.
const PATIENCE: Duration = Duration::from_mins(1);

/// Time between two attempts to reach a log that is away.
const RETRY: Duration = Duration::from_millis(250);

pub(crate) async fn run(copy: &LogCopy, configuration: &Configuration) -> Result<()> {
    let from = url("--from", &copy.from)?;
    let to = url("--to", &copy.to)?;
    ensure!(from != to, "--from and --to are the same place");
    let opener = Opener::for_copies(configuration);
    let mut logs = BTreeMap::new();
    for &log in copy.log.logs() {
        let original = opener.open_stored(&from, log).await?;
        let target = opener.open(&to, log).await?.transfer;
        let named = || format!("the {log} log, from {from} to {to}");
        let copied = copy_log(log, original, target).await.with_context(named)?;
        if !copy.json {
            writeln!(std::io::stdout(), "{}", copied.told(log))?;
        }
        logs.insert(log.as_str(), copied);
    }
    if copy.json {
        let told = serde_json::json!({
            "from": from.to_string(),
            "to": to.to_string(),
            "logs": logs,
        });
        writeln!(std::io::stdout(), "{told}")?;
    }
    Ok(())
}

/// Reads a place. Its text is not repeated: it may hold a secret.
fn url(flag: &str, text: &str) -> Result<LogUrl> {
    LogUrl::parse(text).with_context(|| format!("{flag} is no log"))
}

/// A copy that holds what its original did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Copied {
    /// Up to where the original was copied: its newest entry when this began.
    head: Offset,
    entries: u64,
    streams: usize,
    /// Those that were not in the copy before.
    put_in: u64,
    /// Entries of the copy that the original does not hold, such as retention has dropped there.
    besides: u64,
    /// Over stream, version and hash of each entry that both hold, in order.
    hash: Hash,
}

impl Copied {
    fn told(&self, log: Log) -> String {
        let Self { head, entries, streams, put_in, besides, hash } = self;
        let besides = match besides {
            0 => String::new(),
            besides => format!(", and {besides} besides"),
        };
        format!(
            "{log}: {entries} entries of {streams} streams, up to offset {head} of the original; \
             {put_in} put in now{besides}; the same on both sides: {hash}"
        )
    }
}

async fn copy_log(
    log: Log,
    original: Arc<dyn ReadStored>,
    target: Arc<dyn Transfer>,
) -> Result<Copied> {
    // What comes later belongs to the next run.
    let head = patiently(|| original.head()).await.context("the original")?;
    let course = Course::begin(log, "copying", head);
    let (ahead, mut batches) = mpsc::channel(AHEAD_BATCHES_MAX);
    let reading = async move { read_up_to(head, &*original, &ahead).await.context("the original") };
    let writing = async {
        let mut writer = Writer { log, target: &*target, tips: BTreeMap::new(), put_in: 0 };
        let mut holding = Holding::default();
        while let Some(batch) = batches.recv().await {
            writer.batch(&batch, &mut holding).await?;
            course.reached(batch.last().map(|newest| newest.offset), holding.entries);
        }
        Ok::<_, anyhow::Error>((holding, writer.put_in))
    };
    let copied = async { tokio::try_join!(reading, writing) };
    let ((), (holding, put_in)) = course.told_during(copied).await?;
    let besides = compare(log, &holding, &*target).await.context("the copy")?;
    Ok(Copied {
        head,
        entries: holding.entries,
        streams: holding.spans.len(),
        put_in,
        besides,
        hash: holding.hash(),
    })
}

/// Reads batch after batch up to an entry, ahead of whoever takes them.
async fn read_up_to(
    head: Offset,
    from: &dyn ReadStored,
    ahead: &mpsc::Sender<Vec<Stored>>,
) -> Result<(), LogError> {
    let mut after = Offset(0);
    while after < head {
        let mut batch = patiently(|| from.stored(after, BATCH_ENTRIES_MAX)).await?;
        let Some(newest) = batch.last() else { break };
        after = newest.offset;
        batch.retain(|stored| stored.offset <= head);
        if ahead.send(batch).await.is_err() {
            // Whoever takes them has failed, and says why.
            break;
        }
    }
    Ok(())
}

/// Puts into a log what it lacks.
struct Writer<'a> {
    log: Log,
    target: &'a dyn Transfer,
    /// Of the streams that came by: what the target held of them before.
    tips: BTreeMap<Stream, Option<Tip>>,
    put_in: u64,
}

impl Writer<'_> {
    async fn batch(&mut self, batch: &[Stored], holding: &mut Holding) -> Result<()> {
        let mut lacking = Vec::with_capacity(batch.len());
        for stored in batch {
            let (header, hash) = (stored.header(self.log)?, stored.hash());
            holding.take(&header, hash).context("the original")?;
            if self.is_lacking(&header, hash).await? {
                lacking.push(stored.clone());
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        let put_in = patiently(|| self.target.take_over(&lacking)).await;
        let put_in = put_in.map_err(|error| match error {
            LogError::Conflict { .. } => anyhow::Error::from(error)
                .context("others write into the target, or it was made from another log"),
            error => error.into(),
        });
        let put_in = put_in.context("the target")?;
        self.put_in += put_in.iter().filter(|appended| !appended.repeated).count() as u64;
        Ok(())
    }

    /// Whether the target lacked an entry when this began.
    async fn is_lacking(&mut self, header: &Header, hash: Hash) -> Result<bool> {
        let Header { stream, version, .. } = header;
        let known = self.tips.get(stream).copied();
        let tip = match known {
            Some(tip) => tip,
            None => patiently(|| self.target.tip(stream)).await.context("the target")?,
        };
        if known.is_none() {
            self.tips.insert(stream.clone(), tip);
        }
        let Some(tip) = tip else { return Ok(true) };
        ensure!(
            known.is_some() || *version <= tip.version.next(),
            "the target holds {stream} up to version {}, and the original only from version \
             {version} on: copy into an empty log",
            tip.version
        );
        ensure!(
            *version != tip.version || hash == tip.hash,
            "version {version} of {stream} is another in the target: it was made from another log"
        );
        Ok(*version > tip.version)
    }
}

/// Reads the copy and holds it against what was seen of the original; returns how many entries it has
/// besides.
async fn compare(log: Log, original: &Holding, copy: &dyn Transfer) -> Result<u64> {
    let head = patiently(|| copy.head()).await?;
    let course = Course::begin(log, "comparing", head);
    let reading = async {
        let (mut found, mut besides, mut after) = (Holding::default(), 0, Offset(0));
        while after < head {
            let batch = patiently(|| copy.stored(after, BATCH_ENTRIES_MAX)).await?;
            let Some(newest) = batch.last() else { break };
            after = newest.offset;
            for stored in &batch {
                let header = stored.header(log)?;
                if original.has(&header) {
                    found.take(&header, stored.hash())?;
                } else {
                    besides += 1;
                }
            }
            course.reached(Some(after), found.entries + besides);
        }
        Ok::<_, anyhow::Error>((found, besides))
    };
    let (found, besides) = course.told_during(reading).await?;
    original.check(&found)?;
    Ok(besides)
}

/// Asks again while a log is away, and gives up when it has been for too long.
async fn patiently<T, F: Future<Output = Result<T, LogError>>>(
    ask: impl Fn() -> F,
) -> Result<T, LogError> {
    let asked = Instant::now();
    loop {
        match ask().await {
            Err(LogError::Unavailable(_) | LogError::OutcomeUnknown)
                if asked.elapsed() < PATIENCE =>
            {
                sleep(RETRY).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests;
