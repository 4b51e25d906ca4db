//! Appends: ours with everything that it checks, and a bare writer that checks nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use eventlog::body;
use eventlog::embedded::{Embedded, Options};
use eventlog::entry::{Draft, Hash, Version};
use eventlog::files::Disk;
use eventlog::log::{EventLog, Expected};
use eventlog::stream::{Log, Stream};
use tephra::{
    AppendCondition, Event, EventType, Position, Query, QueryItem, SegmentConfig, SegmentSet, Tag,
    Tags, WriteCoordinator, WriterConfig,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::row::rate;
use crate::sample;

const APPENDERS: usize = 64;
const ENTRIES_EACH: usize = 1_500;
const STREAMS: usize = 8;
const BATCHES_EACH: usize = 300;

/// The bare writer fills its file with zeros first, as far ahead as ours does at once.
const ZEROS: usize = 4 << 20;

pub async fn ours_entries() -> Result<f64> {
    ours(APPENDERS, ENTRIES_EACH, |stream, id| sample::small_draft(stream, u128::from(id)), 1).await
}

pub async fn bare_entries() -> Result<f64> {
    let folder = sample::folder()?;
    let draft = sample::small_draft(&sample::stream(0), 0);
    let bytes = Arc::new(body::seal(&draft, Version(1), Hash::default())?.body);
    let writer = Bare::start(File::create(folder.path().join("bare"))?);
    let start = Instant::now();
    let mut appenders = JoinSet::new();
    for _ in 0..APPENDERS {
        let (queue, bytes) = (writer.clone(), bytes.clone());
        appenders.spawn(async move {
            for _ in 0..ENTRIES_EACH {
                queue.append(bytes.clone()).await;
            }
        });
    }
    appenders.join_all().await;
    Ok(rate(APPENDERS * ENTRIES_EACH, start.elapsed()))
}

/// The embedded store `tephra`: the same bytes, and a guard that asks as much of the log as ours,
/// that nothing of the appender's own stream came after what it knows.
pub async fn tephra_entries() -> Result<f64> {
    let folder = sample::folder()?;
    let draft = sample::small_draft(&sample::stream(0), 0);
    let bytes = Arc::new(body::seal(&draft, Version(1), Hash::default())?.body);
    let segments = SegmentSet::open(folder.path(), SegmentConfig::new(64 << 20))?;
    let (coordinator, handle) = WriteCoordinator::start(segments, WriterConfig::default())?;
    let start = Instant::now();
    let mut appenders = JoinSet::new();
    for number in 0..APPENDERS {
        let (handle, bytes) = (handle.clone(), bytes.clone());
        appenders.spawn(async move {
            let kind = EventType::new("entry").expect("a name");
            let tags = || {
                let tag = Tag::new(format!("stream:{number}")).expect("a tag");
                Tags::new([tag]).expect("one tag")
            };
            let mut known = Position::ZERO;
            for _ in 0..ENTRIES_EACH {
                let event = Event::new(&kind, &tags(), &bytes).expect("an event");
                let own = Query::item(QueryItem::with_tags(tags()));
                let unchanged = AppendCondition::new(own).after(known);
                let appended = handle.append_async(vec![event], Some(unchanged)).await;
                known = appended.expect("an append").last;
            }
        });
    }
    appenders.join_all().await;
    let rate = rate(APPENDERS * ENTRIES_EACH, start.elapsed());
    drop(handle);
    drop(coordinator.shutdown());
    Ok(rate)
}

pub async fn ours_batches() -> Result<f64> {
    ours(STREAMS, BATCHES_EACH, |stream, id| sample::batch(stream, id * 256), 256).await
}

/// Appends drafts that were made before, one stream an appender; returns events per second.
async fn ours(
    appenders: usize,
    entries: usize,
    draft: impl Fn(&Stream, u64) -> Draft,
    events: usize,
) -> Result<f64> {
    let folder = sample::folder()?;
    let files = Arc::new(Disk::open(folder.path())?);
    let (log, _) = Embedded::open(files, Log::Market, Options::default())?;
    let log = Arc::new(log);
    let made: Vec<Vec<Draft>> = (0..appenders)
        .map(|number| {
            let (stream, first) = (sample::stream(number), number * entries);
            (first..first + entries).map(|id| draft(&stream, id as u64)).collect()
        })
        .collect();
    let start = Instant::now();
    let mut running = JoinSet::new();
    for drafts in made {
        let log = log.clone();
        running.spawn(async move {
            let mut expected = Expected::Empty;
            for draft in drafts {
                let appended = log.append(draft, expected).await.expect("an append");
                expected = Expected::At(appended.version);
            }
        });
    }
    running.join_all().await;
    Ok(rate(appenders * entries * events, start.elapsed()))
}

pub async fn bare_batches() -> Result<f64> {
    let folder = sample::folder()?;
    let draft = sample::batch(&sample::stream(0), 0);
    let bytes = body::seal(&draft, Version(1), Hash::default())?.body.repeat(STREAMS);
    let file = File::create(folder.path().join("bare"))?;
    let start = Instant::now();
    let mut end = Prepared::default();
    for _ in 0..BATCHES_EACH {
        end.write(&file, &bytes)?;
    }
    Ok(rate(STREAMS * BATCHES_EACH * 256, start.elapsed()))
}

/// Where a bare file's data and its zeros end.
#[derive(Default)]
struct Prepared {
    end: u64,
    zeros: u64,
}

impl Prepared {
    fn write(&mut self, file: &File, bytes: &[u8]) -> std::io::Result<()> {
        while self.end + bytes.len() as u64 > self.zeros {
            file.write_all_at(&vec![0; ZEROS], self.zeros)?;
            file.sync_all()?;
            self.zeros += ZEROS as u64;
        }
        file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        file.sync_data()
    }
}

/// One thread that takes what has queued up, writes it, syncs once and answers.
#[derive(Clone)]
struct Bare(mpsc::Sender<(Arc<Vec<u8>>, oneshot::Sender<()>)>);

impl Bare {
    fn start(file: File) -> Self {
        let (queue, mut requests) = mpsc::channel::<(Arc<Vec<u8>>, oneshot::Sender<()>)>(1_024);
        std::thread::spawn(move || {
            let (mut end, mut group) = (Prepared::default(), Vec::new());
            while requests.blocking_recv_many(&mut group, 1_024) > 0 {
                let bytes: Vec<u8> =
                    group.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
                end.write(&file, &bytes).expect("a write");
                for (_, answer) in group.drain(..) {
                    let _ = answer.send(());
                }
            }
        });
        Self(queue)
    }

    async fn append(&self, bytes: Arc<Vec<u8>>) {
        let (answer, answered) = oneshot::channel();
        self.0.send((bytes, answer)).await.expect("the writer runs");
        answered.await.expect("the writer answers");
    }
}
