//! What is asked of JetStream, each request with a time of its own and so many at once.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::Request;
use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time;

use crate::log::LogError;
use crate::nats::message::Raw;
use crate::nats::names::Names;

/// Requests of one log that wait for their answers, of readers and of writers each. When so many do,
/// others wait for their turn. More writes at once would only wait with the broker instead, until
/// nobody waits for their answers any more.
pub(super) const REQUESTS_MAX: usize = 256;

/// How long an answer may take. A leader that is well needs a hundredth of it.
pub(super) const ANSWER_WAIT: Duration = Duration::from_millis(700);

/// The same for the word that an entry is stored: there must be time to look for it then.
pub(super) const STORED_WAIT: Duration = Duration::from_millis(400);
/// The same for history, of which another replica may have the answer.
const HISTORY_WAIT: Duration = Duration::from_millis(350);

/// The same for what a whole cluster must agree on.
const CHANGED_WAIT: Duration = Duration::from_secs(5);

/// Messages that are asked for in one batch of history.
pub(super) const BATCH_MESSAGES_MAX: usize = 1_000;
/// Bytes after which the server ends a batch.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// JetStream's own numbers for what went wrong.
pub(super) mod codes {
    /// Too few servers that could keep a replica.
    pub(in crate::nats) const NO_PEERS: u64 = 10_005;
    /// The cluster has no leader yet.
    pub(in crate::nats) const NOT_AVAILABLE: u64 = 10_008;
    pub(in crate::nats) const STREAM_NOT_FOUND: u64 = 10_059;
    pub(in crate::nats) const STREAM_EXISTS: u64 = 10_058;
    /// The subject's last message is another than was expected.
    pub(in crate::nats) const WRONG_LAST_SEQUENCE: u64 = 10_071;
    /// A write to that subject is on its way through the cluster.
    pub(in crate::nats) const WRITE_IN_FLIGHT: u64 = 10_164;
    /// A message with that id is on its way through the cluster.
    pub(in crate::nats) const MESSAGE_IN_FLIGHT: u64 = 10_158;
    /// No space, by a limit or by the disk.
    pub(in crate::nats) const INSUFFICIENT_RESOURCES: u64 = 10_023;
    pub(in crate::nats) const STORAGE_EXCEEDED: u64 = 10_047;
    /// The server could not store it, for the reason that it adds.
    pub(in crate::nats) const STORE_FAILED: u64 = 10_077;
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Nothing was sent.
    Unsent(String),
    /// Nothing came back: what was asked may have been done, or may be yet.
    Silence(String),
    /// JetStream said no.
    No { code: u64, text: String },
}

impl Fault {
    /// What it is for a reader.
    pub(super) fn unavailable(self) -> LogError {
        LogError::Unavailable(match self {
            Self::Unsent(text) | Self::Silence(text) => text,
            Self::No { code, text } => format!("NATS says: {text} ({code})"),
        })
    }
}

/// An acknowledged message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acknowledged {
    pub(super) sequence: u64,
    /// One with the same id was there already, at that sequence.
    pub(super) duplicate: bool,
}

/// What the leader of a JetStream stream says of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Info {
    pub(super) config: Value,
    pub(super) state: StreamState,
    pub(super) cluster: Option<ClusterInfo>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct StreamState {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    #[serde(default)]
    pub(super) num_deleted: u64,
    #[serde(default)]
    pub(super) subjects: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClusterInfo {
    pub(super) leader: Option<String>,
    #[serde(default)]
    pub(super) replicas: Vec<Replica>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Replica {
    pub(super) name: String,
    #[serde(default)]
    pub(super) current: bool,
    #[serde(default)]
    pub(super) offline: bool,
}

/// What JetStream answers: a no, or what was asked for.
#[derive(Deserialize)]
struct Answer {
    error: Option<No>,
    #[serde(flatten)]
    rest: Value,
}

#[derive(Deserialize)]
struct No {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Which messages a batch of history holds.
#[derive(Debug, Clone, Serialize)]
struct Batch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_last: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to_seq: Option<u64>,
    #[serde(rename = "batch")]
    messages: usize,
    max_bytes: usize,
}

/// The way to one log in JetStream.
pub(super) struct Broker {
    pub(super) client: async_nats::Client,
    pub(super) names: Names,
    stream: jetstream::stream::Stream<()>,
    reads: Semaphore,
    writes: Semaphore,
}

impl Broker {
    pub(super) async fn new(client: async_nats::Client, names: Names) -> Result<Self, LogError> {
        let context = jetstream::new(client.clone());
        let stream = context
            .get_stream_no_info(&names.stream)
            .await
            .map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(Self {
            client,
            names,
            stream,
            reads: Semaphore::new(REQUESTS_MAX),
            writes: Semaphore::new(REQUESTS_MAX),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for a turn. Nothing is ever given to a client without a connection: it would keep it,
    /// and send it much later.
    async fn turn<'a>(&self, among: &'a Semaphore) -> Result<SemaphorePermit<'a>, Fault> {
        let turn = time::timeout(ANSWER_WAIT, among.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Fault::Unsent(format!("{REQUESTS_MAX} requests wait for NATS already")));
        };
        if self.is_connected() {
            Ok(turn)
        } else {
            Err(Fault::Unsent("there is no connection to NATS".to_owned()))
        }
    }

    async fn request(
        &self,
        subject: String,
        request: Request,
        wait: Duration,
    ) -> Result<Bytes, Fault> {
        // Bounded by the wait alone: a timeout of the client's own would be another.
        let asked = self.client.send_request(subject, request.timeout(None));
        match time::timeout(wait, asked).await {
            Ok(Ok(answer)) => Ok(answer.payload),
            Ok(Err(error)) => Err(Fault::Silence(format!("NATS does not answer: {error}"))),
            Err(_) => Err(Fault::Silence(format!("NATS does not answer within {wait:?}"))),
        }
    }

    /// Asks JetStream's interface for something about the log's JetStream stream.
    pub(super) async fn ask(&self, what: &str, body: &Value) -> Result<Value, Fault> {
        self.ask_within(what, body, ANSWER_WAIT).await
    }

    /// Makes the JetStream stream. No answer is also how a user is answered who may not.
    pub(super) async fn create(&self, configuration: &Value) -> Result<(), Fault> {
        let what = format!("STREAM.CREATE.{}", self.names.stream);
        self.ask_within(&what, configuration, CHANGED_WAIT).await.map(drop)
    }

    async fn ask_within(&self, what: &str, body: &Value, wait: Duration) -> Result<Value, Fault> {
        let _turn = self.turn(&self.reads).await?;
        let subject = format!("$JS.API.{what}");
        let body = Bytes::from(body.to_string());
        answer(&self.request(subject, Request::new().payload(body), wait).await?)
    }

    /// Returns what the leader says of the JetStream stream.
    pub(super) async fn info(&self) -> Result<Info, Fault> {
        self.info_about(&Value::Object(serde_json::Map::new())).await
    }

    /// Returns the subjects that hold messages, and how many.
    pub(super) async fn subjects(&self) -> Result<BTreeMap<String, u64>, Fault> {
        let filter = serde_json::json!({ "subjects_filter": self.names.all() });
        Ok(self.info_about(&filter).await?.state.subjects.unwrap_or_default())
    }

    async fn info_about(&self, body: &Value) -> Result<Info, Fault> {
        let info = self.ask(&format!("STREAM.INFO.{}", self.names.stream), body).await?;
        serde_json::from_value(info)
            .map_err(|error| Fault::Silence(format!("NATS tells of no stream: {error}")))
    }

    /// Sends an entry and waits for the word that it is stored.
    pub(super) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        wait: Duration,
    ) -> Result<Acknowledged, Fault> {
        let _turn = self.turn(&self.writes).await?;
        let request = Request::new().headers(headers).payload(payload);
        acknowledged(&self.request(subject, request, wait).await?)
    }

    /// Returns the newest message of a subject, from the leader.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<Raw>, Fault> {
        self.leaders(self.stream.get_last_raw_message_by_subject(subject)).await
    }

    /// Returns the first message of a subject, or of all, at or behind a sequence, from the leader.
    pub(super) async fn next(
        &self,
        sequence: u64,
        subject: Option<&str>,
    ) -> Result<Option<Raw>, Fault> {
        let all = self.names.all();
        let subject = subject.unwrap_or(&all);
        self.leaders(self.stream.get_first_raw_message_by_subject(subject, sequence)).await
    }

    async fn leaders(
        &self,
        asked: impl Future<Output = Result<jetstream::message::StreamMessage, RawMessageError>>,
    ) -> Result<Option<Raw>, Fault> {
        let _turn = self.turn(&self.reads).await?;
        match time::timeout(ANSWER_WAIT, asked).await {
            Ok(Ok(message)) => Ok(Some(Raw {
                subject: message.subject.to_string(),
                sequence: message.sequence,
                headers: message.headers,
                payload: message.payload,
            })),
            Ok(Err(error)) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error) => {
                    Err(Fault::No { code: error.error_code().0, text: error.to_string() })
                }
                LastRawMessageErrorKind::InvalidSubject | LastRawMessageErrorKind::Other => {
                    Err(Fault::Silence(format!("NATS does not answer: {error}")))
                }
            },
            Err(_) => Err(Fault::Silence(format!("NATS does not answer within {ANSWER_WAIT:?}"))),
        }
    }

    /// Returns messages from a sequence on, of one subject or of all, in order, from any replica: one
    /// that is behind has fewer.
    pub(super) async fn history(
        &self,
        sequence: u64,
        subject: Option<&str>,
        messages: usize,
    ) -> Result<Vec<Raw>, Fault> {
        let batch = Batch {
            seq: Some(sequence.max(1)),
            // All that there is: with a narrower word the server looks at each subject.
            next_by_subj: Some(subject.unwrap_or(">")),
            multi_last: None,
            up_to_seq: None,
            messages: messages.clamp(1, BATCH_MESSAGES_MAX),
            max_bytes: BATCH_BYTES_MAX,
        };
        self.batch(&batch).await
    }

    /// Returns the newest message of a subject up to a sequence, from any replica: one that is behind
    /// has an older one.
    pub(super) async fn newest_up_to(
        &self,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<Raw>, Fault> {
        let batch = Batch {
            seq: None,
            next_by_subj: None,
            multi_last: Some([subject]),
            up_to_seq: Some(sequence),
            messages: 1,
            max_bytes: BATCH_BYTES_MAX,
        };
        Ok(self.batch(&batch).await?.pop())
    }

    async fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Raw>, Fault> {
        let _turn = self.turn(&self.reads).await?;
        let silence = |text: String| Fault::Silence(format!("NATS does not answer: {text}"));
        let inbox = self.client.new_inbox();
        let subject = format!("$JS.API.DIRECT.GET.{}", self.names.stream);
        let body = serde_json::to_vec(batch).map_err(|error| silence(error.to_string()))?;
        let asked = async {
            let answers = self.client.subscribe(inbox.clone()).await;
            let answers = answers.map_err(|error| silence(error.to_string()))?;
            let sent = self.client.publish_with_reply(subject, inbox, body.into()).await;
            sent.map_err(|error| silence(error.to_string()))?;
            Ok(answers)
        };
        let mut answers = time::timeout(HISTORY_WAIT, asked)
            .await
            .map_err(|_| silence(format!("nothing within {HISTORY_WAIT:?}")))??;
        let mut messages = Vec::with_capacity(batch.messages.min(BATCH_MESSAGES_MAX));
        loop {
            let next = time::timeout(HISTORY_WAIT, answers.next()).await;
            let Ok(Some(message)) = next else {
                // What has come is the beginning of it.
                return if messages.is_empty() {
                    Err(silence(format!("nothing within {HISTORY_WAIT:?}")))
                } else {
                    Ok(messages)
                };
            };
            match message.status.map(|status| status.as_u16()) {
                None | Some(200) => match raw(message) {
                    Some(message) => messages.push(message),
                    None => return Err(silence("a message without its place".to_owned())),
                },
                // The end of the batch, or nothing there.
                Some(204 | 404) => return Ok(messages),
                Some(503) => return Err(silence("nobody has the stream now".to_owned())),
                Some(status) => {
                    let text = message.description.unwrap_or_default();
                    return Err(Fault::No { code: u64::from(status), text });
                }
            }
        }
    }
}

/// Reads a message of a batch, whose place stands in its headers.
fn raw(message: async_nats::Message) -> Option<Raw> {
    let headers = message.headers?;
    let sequence = headers.get(async_nats::header::NATS_SEQUENCE)?.as_str().parse().ok()?;
    let subject = headers.get(async_nats::header::NATS_SUBJECT)?.as_str().to_owned();
    Some(Raw { subject, sequence, headers, payload: message.payload })
}

/// Reads the answer to an entry that was sent.
pub(super) fn acknowledged(bytes: &[u8]) -> Result<Acknowledged, Fault> {
    #[derive(Deserialize)]
    struct Ack {
        seq: u64,
        #[serde(default)]
        duplicate: bool,
    }
    let ack: Ack = serde_json::from_value(answer(bytes)?)
        .map_err(|error| Fault::Silence(format!("NATS acknowledges nothing: {error}")))?;
    Ok(Acknowledged { sequence: ack.seq, duplicate: ack.duplicate })
}

fn answer(bytes: &[u8]) -> Result<Value, Fault> {
    let answer: Answer = serde_json::from_slice(bytes)
        .map_err(|error| Fault::Silence(format!("NATS answers in other words: {error}")))?;
    match answer.error {
        None => Ok(answer.rest),
        Some(no) => {
            let code = if no.err_code == 0 { no.code } else { no.err_code };
            Err(Fault::No { code, text: no.description })
        }
    }
}
