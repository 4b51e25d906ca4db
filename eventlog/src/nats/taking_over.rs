//! Taking entries over from another log: many in flight at once, in their order.
//!
//! Nobody else writes into a copy. So each message is guarded by the sequence of the whole JetStream
//! stream, which is known ahead for all of them, and not by its subject's: where one fails, all behind
//! it fail.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time;

use crate::entry::{Hash, Offset, Version};
use crate::header::Header;
use crate::log::{Appended, LogError, Tip};
use crate::nats::Shared;
use crate::nats::broker::{Acknowledged, Fault};
use crate::nats::message::{Guard, Message};
use crate::nats::pipe::Pipe;
use crate::remote::append::put_in;
use crate::remote::outgoing::OfStored;
use crate::remote::place::Place;
use crate::stream::{Log, Stream};
use crate::transfer::Stored;

/// Messages in flight at once. More would only wait with the broker.
const IN_FLIGHT_MAX: usize = 256;
/// How long one may be in flight: a slow disk has all of them before it.
const STORED_WAIT: Duration = Duration::from_secs(10);
/// How often in a row nothing is put in until that is an error.
const ATTEMPTS_MAX: u32 = 5;
const RETRY: Duration = Duration::from_millis(200);

/// Streams whose tips are remembered. When there are more, all are forgotten, and asked for.
const TIPS_MAX: usize = 1 << 16;

/// What is known of a copy as long as nobody else writes into it.
#[derive(Default)]
pub(super) struct Copying {
    /// The newest entry when these were the tips.
    head: Option<Offset>,
    tips: BTreeMap<Stream, Tip>,
}

impl Copying {
    /// Forgets what may no longer be so.
    fn begin_at(&mut self, head: Offset) {
        if self.head != Some(head) || self.tips.len() > TIPS_MAX {
            self.tips.clear();
        }
        self.head = Some(head);
    }
}

/// An entry that continues its stream.
struct Next<'a> {
    header: &'a Header,
    hash: Hash,
    stored: &'a Stored,
}

impl Shared {
    pub(super) async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError> {
        let mut headers = Vec::with_capacity(batch.len());
        for stored in batch {
            headers.push((stored.header(self.log())?, stored.hash()));
        }
        let all: Vec<_> = headers.iter().zip(batch).collect();
        let mut appended: Vec<Appended> = Vec::with_capacity(batch.len());
        let mut failed = 0;
        // Held across the whole batch: it orders the batches of this process and nothing else.
        let mut copying = self.copying.lock().await;
        while let Some(rest @ [((header, hash), stored), ..]) = all.get(appended.len()..) {
            let head = self.head_of_leader().await?;
            copying.begin_at(head);
            let run = self.run(rest, &mut copying).await?;
            if run.is_empty() {
                // It is in already, or does not continue its stream.
                let one = OfStored { header, hash: *hash, stored };
                appended.push(put_in(self, &one).await?);
                continue;
            }
            let before = appended.len();
            let Err(fault) = self.send_all(head, &run, &mut copying, &mut appended).await else {
                continue;
            };
            // What was sent without an answer may be in: the next round finds it there.
            failed = if appended.len() > before { 0 } else { failed + 1 };
            if failed >= ATTEMPTS_MAX {
                tracing::debug!(?fault, "entries cannot be taken over");
                return Err(LogError::OutcomeUnknown);
            }
            time::sleep(RETRY).await;
        }
        Ok(appended)
    }

    /// Returns the first entries that continue their streams.
    async fn run<'a>(
        &self,
        rest: &[(&'a (Header, Hash), &'a Stored)],
        copying: &mut Copying,
    ) -> Result<Vec<Next<'a>>, LogError> {
        let mut tips: BTreeMap<&Stream, Tip> = BTreeMap::new();
        let mut run = Vec::new();
        for ((header, hash), stored) in rest {
            let tip = match tips.get(&header.stream) {
                Some(tip) => *tip,
                None => self.tip_of_copy(&header.stream, copying).await?,
            };
            let is_first = tip.version == Version(0);
            let continues = match header.stream.log() {
                Log::Market if is_first => true,
                Log::Market | Log::Ledger => {
                    header.version == tip.version.next() && header.prev_hash == tip.hash
                }
            };
            if !continues {
                break;
            }
            tips.insert(&header.stream, Tip { version: header.version, hash: *hash });
            run.push(Next { header, hash: *hash, stored });
        }
        Ok(run)
    }

    async fn tip_of_copy(&self, stream: &Stream, copying: &mut Copying) -> Result<Tip, LogError> {
        if let Some(tip) = copying.tips.get(stream) {
            return Ok(*tip);
        }
        let subject = self.names().subject(stream);
        // Asked after the head: where somebody has written since, all that is sent fails.
        let tip = match copying.head {
            Some(Offset(0)) => None,
            _ => self.leader(self.broker.last(&subject)).await?,
        };
        let none = Tip { version: Version(0), hash: Hash::default() };
        let tip = tip.map_or(Ok(none), |newest| newest.place().map(|place| place.tip()))?;
        copying.tips.insert(stream.clone(), tip);
        Ok(tip)
    }

    /// Sends entries that belong right behind `head`, and notes those that are stored.
    async fn send_all(
        &self,
        head: Offset,
        run: &[Next<'_>],
        copying: &mut Copying,
        appended: &mut Vec<Appended>,
    ) -> Result<(), Fault> {
        let mut pipe = self.broker.pipe().await?;
        let (mut sent, mut answered) = (0, 0);
        let mut stored: Vec<Option<Acknowledged>> = vec![None; run.len()];
        let mut failure = None;
        loop {
            // After a failure no other is sent, and those in flight are waited for.
            let may_send = failure.is_none() && sent - answered < IN_FLIGHT_MAX;
            if let Some(next) = run.get(sent).filter(|_| may_send) {
                match self.send_next(next, head.0 + sent as u64, &mut pipe, sent).await {
                    Ok(()) => sent += 1,
                    Err(fault) => failure = Some(fault),
                }
                continue;
            }
            if answered == sent {
                break;
            }
            match pipe.next(STORED_WAIT).await {
                Err(fault) => {
                    failure = failure.or(Some(fault));
                    break;
                }
                Ok((number, answer)) => {
                    answered += 1;
                    match (answer, stored.get_mut(number)) {
                        (Ok(acknowledged), Some(stored)) => *stored = Some(acknowledged),
                        (Ok(_), None) => {}
                        (Err(fault), _) => failure = failure.or(Some(fault)),
                    }
                }
            }
        }
        for (next, acknowledged) in run.iter().zip(stored.into_iter().map_while(|stored| stored)) {
            self.note_stored(next, acknowledged, copying, appended);
        }
        match failure {
            None => Ok(()),
            Some(fault) => {
                // Which entries are in is not known.
                copying.head = None;
                Err(fault)
            }
        }
    }

    fn note_stored(
        &self,
        next: &Next<'_>,
        Acknowledged { sequence, .. }: Acknowledged,
        copying: &mut Copying,
        appended: &mut Vec<Appended>,
    ) {
        let Header { ref stream, version, append_id, command_id, .. } = *next.header;
        let offset = Offset(sequence);
        let place =
            Place { version, offset, number: sequence, hash: next.hash, append_id, command_id };
        self.tips.note(stream, place);
        copying.tips.insert(stream.clone(), place.tip());
        copying.head = Some(offset);
        appended.push(Appended { offset, version, repeated: false });
    }

    async fn send_next(
        &self,
        next: &Next<'_>,
        after_sequence: u64,
        pipe: &mut Pipe<'_>,
        number: usize,
    ) -> Result<(), Fault> {
        let Header { ref stream, version, append_id, command_id, .. } = *next.header;
        let message = Message {
            version,
            append_id,
            command_id,
            hash: next.hash,
            content: next.stored.content,
            id: None,
            guard: Guard::OfLog(after_sequence),
        };
        let body = Bytes::copy_from_slice(&next.stored.body);
        pipe.send(self.names().subject(stream), message.headers(), body, number).await
    }
}
