//! Logs on NATS JetStream: ours through the adapter, with everything that it checks, and the client
//! alone on the same servers, with the same payloads, headers and settings of its stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer, message::PublishMessage};
use bytes::Bytes;
use eventlog::body;
use eventlog::entry::{Draft, Hash, Offset, Version};
use eventlog::log::{Appended, EventLog, Expected, LogError, ReadLog};
use eventlog::nats::server::{Cluster, Settings};
use eventlog::nats::{Nats, Options};
use eventlog::stream::{Log, Stream};
use futures_util::StreamExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::row::{Goal, Row, rate};
use crate::sample;

/// Rounds of a row, each as long as this: servers are slow to start, and are started once for all.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(700);

/// Appenders, each on a stream of its own.
const IN_FLIGHT: [usize; 3] = [16, 64, 256];
const TICK_STREAMS: usize = 8;
const TICKS: usize = 256;

/// Entries that a replay reads at least.
const REPLAYED: u64 = 20_000;
/// Entries that are asked for at once: what the projector asks for.
const READ: usize = 1_024;

/// Appends are numbered over all rounds: an id is used once.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Servers, a log on them, and a stream beside it of the same settings.
struct Place {
    log: Arc<Nats>,
    raw: jetstream::Context,
    stream: jetstream::stream::Stream,
    /// Where each of our streams and each bare subject stands.
    ours: Mutex<BTreeMap<usize, Expected>>,
    bare: Mutex<BTreeMap<usize, u64>>,
    _cluster: Cluster,
}

/// Prints the rows of a log in JetStream; false when one is far off.
pub async fn rows(notes: &mut Vec<String>) -> Result<bool> {
    let mut good = true;
    let folders = [sample::folder()?, sample::folder()?];
    let [one, three] = folders
        .each_ref()
        .map(|folder| Settings { store: Some(folder.path().to_owned()), ..Settings::default() });
    for (name, cluster) in
        [("one server", Cluster::single(one).await), ("three servers", Cluster::three(three).await)]
    {
        let Some(cluster) = cluster else {
            notes.push(format!("JetStream, {name}: not measured, nats-server is missing"));
            continue;
        };
        let place = Place::on(cluster).await?;
        good &= place.print(name).await?;
    }
    Ok(good)
}

impl Place {
    async fn on(cluster: Cluster) -> Result<Self> {
        let client = cluster.client().await;
        let options = Options { replicas: cluster.len(), ..Options::default() };
        Nats::create(&client, Log::Market, &options).await?;
        let log = Nats::open(client.clone(), Log::Market, options).await?;
        let raw = jetstream::new(client);
        let settings = raw.get_stream("ENTASIS_MARKET").await?.cached_info().config.clone();
        let beside = jetstream::stream::Config {
            name: "BARE".to_owned(),
            subjects: vec!["bare.>".to_owned()],
            ..settings
        };
        let stream = raw.create_stream(beside).await?;
        let (ours, bare) = Default::default();
        Ok(Self { log: Arc::new(log), raw, stream, ours, bare, _cluster: cluster })
    }

    async fn print(&self, name: &str) -> Result<bool> {
        let mut good = true;
        for in_flight in IN_FLIGHT {
            good &= Row::measured_in(
                ROUNDS,
                &format!("JetStream, {name}, 400 B entries, fsync always, {in_flight} in flight"),
                "async-nats alone: guarded publishes of the same bytes, each with its ack",
                "entries/s",
                Goal::AtLeast(0.7),
                async || self.ours(0, in_flight, 1).await,
                async || self.bare(0, in_flight, 1).await,
            )
            .await?
            .print();
        }
        good &= Row::measured_in(
            ROUNDS,
            &format!("JetStream, {name}, tick batches of {TICKS}, {TICK_STREAMS} streams"),
            "the same",
            "ticks/s",
            Goal::AtLeast(0.7),
            async || self.ours(1_000, TICK_STREAMS, TICKS).await,
            async || self.bare(1_000, TICK_STREAMS, TICKS).await,
        )
        .await?
        .print();
        self.fill().await?;
        good &= Row::measured_in(
            ROUNDS,
            &format!("JetStream, {name}, replay from the first entry, decoded and checked"),
            "async-nats alone: an ordered consumer that counts messages",
            "entries/s",
            Goal::AtLeast(0.3),
            async || self.replay().await,
            async || self.count().await,
        )
        .await?
        .print();
        Ok(good)
    }

    /// Appends for a round, each appender on a stream of its own; returns events per second.
    async fn ours(&self, first: usize, appenders: usize, events: usize) -> Result<f64> {
        let mut places = self.ours.lock().await;
        let (start, mut running) = (Instant::now(), JoinSet::new());
        for number in first..first + appenders {
            let log = self.log.clone();
            let mut expected = places.get(&number).copied().unwrap_or(Expected::Empty);
            running.spawn(async move {
                let (stream, mut done) = (sample::stream(number), 0);
                while start.elapsed() < ROUND {
                    let appended = patiently(&log, draft(&stream, events), expected).await?;
                    expected = Expected::At(appended.version);
                    done += 1;
                }
                anyhow::Ok((number, expected, done))
            });
        }
        let mut sum = 0;
        for ended in running.join_all().await {
            let (number, expected, done) = ended?;
            places.insert(number, expected);
            sum += done;
        }
        Ok(rate(sum * events, start.elapsed()))
    }

    /// The same without us: the bytes of one entry again and again, each with an id of its own.
    async fn bare(&self, first: usize, publishers: usize, events: usize) -> Result<f64> {
        let mut places = self.bare.lock().await;
        let (start, mut running) = (Instant::now(), JoinSet::new());
        for number in first..first + publishers {
            let raw = self.raw.clone();
            let mut after = places.get(&number).copied().unwrap_or_default();
            let (body, headers) = message(number, events)?;
            running.spawn(async move {
                let (subject, mut done) = (format!("bare.market-bench.B{number}-USDT"), 0);
                while start.elapsed() < ROUND {
                    let id = NEXT.fetch_add(1, Ordering::Relaxed);
                    let message = PublishMessage::build()
                        .payload(body.clone())
                        .headers(headers.clone())
                        .message_id(format!("{subject}:{id:032x}"))
                        .expected_last_subject_sequence(after);
                    match raw.send_publish(subject.clone(), message).await?.await {
                        Ok(stored) => (after, done) = (stored.sequence, done + 1),
                        // A cluster may still be clearing away the write before, though it was
                        // acknowledged: again.
                        Err(error) if error.to_string().contains("10164") => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                anyhow::Ok((number, after, done))
            });
        }
        let mut sum = 0;
        for ended in running.join_all().await {
            let (number, after, done) = ended?;
            places.insert(number, after);
            sum += done;
        }
        Ok(rate(sum * events, start.elapsed()))
    }

    /// Fills both with small entries until a replay takes long enough to be measured. Our log first:
    /// what both then hold of large ones is about the same.
    async fn fill(&self) -> Result<()> {
        while self.log.head().await?.0 < REPLAYED {
            self.ours(0, 256, 1).await?;
        }
        let mut stream = self.stream.clone();
        while stream.info().await?.state.last_sequence < REPLAYED {
            self.bare(0, 256, 1).await?;
        }
        Ok(())
    }

    async fn replay(&self) -> Result<f64> {
        let head = self.log.head().await?;
        let (start, mut after, mut done) = (Instant::now(), Offset(0), 0);
        while after < head {
            let entries = self.log.read(after, READ).await?;
            after = entries.last().context("entries up to the head")?.offset;
            done += entries.len();
        }
        ensure!(done as u64 >= head.0, "entries are missing");
        Ok(rate(done, start.elapsed()))
    }

    async fn count(&self) -> Result<f64> {
        let mut stream = self.stream.clone();
        let last = stream.info().await?.state.last_sequence;
        let start = Instant::now();
        let consumer = stream.create_consumer(consumer::pull::OrderedConfig::default()).await?;
        let (mut messages, mut done) = (consumer.messages().await?, 0);
        while let Some(message) = messages.next().await {
            message?;
            done += 1;
            if done as u64 == last {
                break;
            }
        }
        Ok(rate(done, start.elapsed()))
    }
}

/// Appends as the desk does: what is not known is asked again under the same id.
async fn patiently(log: &Nats, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
    loop {
        match log.append(draft.clone(), expected).await {
            Err(LogError::OutcomeUnknown | LogError::Unavailable(_)) => {}
            answer => return answer,
        }
    }
}

fn draft(stream: &Stream, events: usize) -> Draft {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    if events == 1 {
        sample::small_draft(stream, u128::from(id))
    } else {
        sample::batch(stream, id * events as u64)
    }
}

/// Returns an entry's bytes, and headers as many and as long as ours.
fn message(number: usize, events: usize) -> Result<(Bytes, HeaderMap)> {
    let draft = draft(&sample::stream(number), events);
    let sealed = body::seal(&draft, Version(1), Hash::default())?;
    let mut headers = HeaderMap::new();
    headers.insert("Ent-Append-Id", draft.append_id.to_string());
    headers.insert("Ent-Command-Id", draft.command_id.to_string());
    headers.insert("Ent-Version", "1");
    headers.insert("Ent-Hash", Hash::default().to_string());
    headers.insert("Ent-Content", if events == 1 { "json" } else { "ticks" });
    Ok((sealed.body.into(), headers))
}
