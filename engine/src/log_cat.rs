//! `entasis log cat`: prints what a log holds, one entry a line, also beside a running server.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use eventlog::embedded::read_only::ReadOnly;
use eventlog::embedded::verify;
use eventlog::entry::{Entry, Offset, Version};
use eventlog::files::Disk;
use eventlog::log::{LogError, ReadLog};
use eventlog::patient::Patient;
use eventlog::stream::{Log, Stream};

use crate::command_line::LogCat;
use crate::configuration::Configuration;
use crate::logs::{self, Opener};

/// Entries that are read at once.
const BATCH_ENTRIES_MAX: usize = 256;

/// Prints until there is no more, or for ever when it follows. A reader that is gone ends it well.
pub(crate) async fn run(cat: &LogCat, configuration: &Configuration) -> Result<()> {
    let log = match (&cat.stream, cat.log) {
        (Some(stream), Some(log)) => {
            ensure!(stream.log() == log, "{stream} is a stream of the {} log", stream.log());
            log
        }
        (Some(stream), None) => stream.log(),
        (None, log) => log.unwrap_or(Log::Ledger),
    };
    let url = configuration.log(log);
    let left = cat.limit.unwrap_or(u64::MAX);
    let place = Place { stream: cat.stream.clone(), after: cat.after, left };
    let mut lines = Printer { out: BufWriter::new(io::stdout().lock()), place };
    let printed = if let Some(folder) = url.folder(log) {
        let files = Arc::new(logs::files(&folder, log)?);
        match ReadOnly::open(files.clone(), log) {
            Ok(reader) => lines.print(&reader, cat.follow).await,
            Err(LogError::Damaged { .. }) => lines.print_undamaged(&files, log),
            Err(error) => Err(Ended::By(error.into())),
        }
    } else {
        let reader = Opener::of(configuration).open_stored(url, log).await?;
        if cat.follow {
            // Whoever follows sits out the time in which the broker is away.
            lines.print(&Patient::new(reader), true).await
        } else {
            lines.print(&*reader, false).await
        }
    };
    // What was read before an error is printed before it.
    let flushed = lines.out.flush().map_err(Ended::of);
    match printed.and(flushed) {
        Ok(()) | Err(Ended::Unheard) => Ok(()),
        Err(Ended::By(error)) => Err(error).with_context(|| format!("the {log} log")),
    }
}

/// Why printing ends early.
enum Ended {
    /// Nobody reads any more.
    Unheard,
    By(anyhow::Error),
}

impl Ended {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Unheard,
            _ => Self::By(anyhow::Error::new(error).context("standard output")),
        }
    }
}

/// What is to be printed next.
struct Place {
    stream: Option<Stream>,
    /// An offset, or with a stream a version.
    after: u64,
    /// How many entries may still be printed.
    left: u64,
}

struct Printer<'a> {
    out: BufWriter<StdoutLock<'a>>,
    place: Place,
}

impl Printer<'_> {
    async fn print(&mut self, reader: &dyn ReadLog, follow: bool) -> Result<(), Ended> {
        loop {
            let head = reader.head().await.map_err(|error| Ended::By(error.into()))?;
            while self.batch(reader).await? {}
            if !follow || self.place.left == 0 {
                return Ok(());
            }
            self.out.flush().map_err(Ended::of)?;
            reader.wait_after(head).await.map_err(|error| Ended::By(error.into()))?;
        }
    }

    /// Prints some entries; false when there are no more.
    async fn batch(&mut self, reader: &dyn ReadLog) -> Result<bool, Ended> {
        let limit = usize::try_from(self.place.left).unwrap_or(usize::MAX).min(BATCH_ENTRIES_MAX);
        let mut entries = self.place.read(reader, limit).await;
        if matches!(entries, Err(LogError::Damaged { .. })) {
            // One by one: what stands before the damage is good.
            entries = self.place.read(reader, limit.min(1)).await;
        }
        let entries = entries.map_err(|error| Ended::By(error.into()))?;
        for entry in &entries {
            self.entry(entry)?;
        }
        Ok(!entries.is_empty())
    }

    /// Prints what stands before the damage for which a log does not open.
    fn print_undamaged(&mut self, files: &Disk, log: Log) -> Result<(), Ended> {
        let mut printed = Ok(());
        let visited = verify::visit(files, log, |entry| {
            if self.place.is_wanted(&entry) {
                printed = self.entry(&entry);
            }
            let goes_on = printed.is_ok() && self.place.left > 0;
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        printed?;
        visited.map(|_| ()).map_err(|error| Ended::By(error.into()))
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Ended> {
        let line = serde_json::to_string(entry).map_err(|error| Ended::By(error.into()))?;
        writeln!(self.out, "{line}").map_err(Ended::of)?;
        self.place.after = self.place.of(entry);
        self.place.left -= 1;
        Ok(())
    }
}

impl Place {
    async fn read(&self, reader: &dyn ReadLog, limit: usize) -> Result<Vec<Entry>, LogError> {
        match &self.stream {
            None => reader.read(Offset(self.after), limit).await,
            Some(stream) => reader.read_stream(stream, Version(self.after), limit).await,
        }
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let is_in = self.stream.as_ref().is_none_or(|stream| *stream == entry.stream);
        is_in && self.left > 0 && self.of(entry) > self.after
    }

    const fn of(&self, entry: &Entry) -> u64 {
        match self.stream {
            None => entry.offset.0,
            Some(_) => entry.version.0,
        }
    }
}
