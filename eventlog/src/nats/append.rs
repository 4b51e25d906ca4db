//! How JetStream takes an entry: guarded by the sequence of the stream's last message.

use std::time::Duration;

use async_trait::async_trait;

use crate::entry::{Offset, Version};
use crate::log::LogError;
use crate::nats::Shared;
use crate::nats::broker::{Acknowledged, Fault, STORED_WAIT, codes};
use crate::nats::message::{Guard, Message, Raw};
use crate::nats::names;
use crate::remote::append::{Base, Guarded, Sent, Turns};
use crate::remote::outgoing::Outgoing;
use crate::remote::place::Place;
use crate::remote::tips::Tips;
use crate::stream::{Log, Stream};

#[async_trait]
impl Guarded for Shared {
    fn log(&self) -> Log {
        self.names().log
    }

    fn patience(&self) -> Duration {
        self.options.patience
    }

    fn tips(&self) -> &Tips {
        &self.tips
    }

    fn turns(&self) -> &Turns {
        &self.turns
    }

    fn reach(&self) -> Result<(), LogError> {
        if self.broker.is_connected() {
            return Ok(());
        }
        Err(LogError::Unavailable("there is no connection to NATS".to_owned()))
    }

    /// From the leader, or where all has aged out, from where tips are kept.
    async fn base(&self, stream: &Stream) -> Result<Base, LogError> {
        let subject = self.names().subject(stream);
        if let Some(newest) = self.leader(self.broker.last(&subject)).await? {
            return Ok(Base::of_leader(newest.place()?));
        }
        let kept = self.tips.aged_out(stream).await?;
        Ok(kept.map_or_else(Base::empty, |tip| Base::of_dropped(tip, None)))
    }

    async fn places_after(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Place>, LogError> {
        self.raws_of(stream, after, limit).await?.iter().map(Raw::place).collect()
    }

    async fn send(&self, entry: &Outgoing<'_>, base: &Base) -> Result<Sent, LogError> {
        let subject = self.names().subject(entry.stream);
        let id = names::message_id(entry.stream, entry.append_id);
        let message = Message {
            version: entry.ready.version,
            append_id: entry.append_id,
            command_id: entry.command_id,
            hash: entry.ready.hash,
            content: entry.ready.content,
            id: Some(&id),
            guard: Guard::OfSubject(base.number.unwrap_or_default()),
        };
        let body = bytes::Bytes::copy_from_slice(&entry.ready.body);
        let sent = self.broker.publish(subject.clone(), message.headers(), body, STORED_WAIT).await;
        Ok(match sent {
            Ok(Acknowledged { sequence, duplicate: false }) => {
                Sent::Stored(entry.at(Offset(sequence), sequence))
            }
            Ok(Acknowledged { sequence, duplicate: true }) => {
                self.what_was_there(&subject, sequence).await?.map_or(Sent::Hidden, Sent::Found)
            }
            Err(Fault::No { code, text }) => self.judge(code, &text)?,
            Err(Fault::Unsent(_)) => Sent::Unsent,
            Err(Fault::Silence(_)) => Sent::Silent,
        })
    }

    fn heard(&self, stored: bool) {
        if stored {
            self.heard_of_no_fault();
        } else {
            self.heard_of_unstored();
        }
    }
}

impl Shared {
    /// Returns what a no of JetStream means.
    fn judge(&self, code: u64, text: &str) -> Result<Sent, LogError> {
        match code {
            // Somebody was quicker, or is about to be.
            codes::WRONG_LAST_SEQUENCE | codes::WRITE_IN_FLIGHT | codes::MESSAGE_IN_FLIGHT => {
                Ok(Sent::Lost)
            }
            codes::INSUFFICIENT_RESOURCES | codes::STORAGE_EXCEEDED => {
                self.heard_of_full(text);
                Ok(Sent::No(LogError::Full))
            }
            codes::STORE_FAILED if self.options.replicas == 1 => {
                self.heard_of_full(text);
                Ok(Sent::No(LogError::Full))
            }
            // One replica has failed to store it. The others may have it.
            codes::STORE_FAILED => {
                self.heard_of_full(text);
                Err(LogError::OutcomeUnknown)
            }
            _ => Ok(Sent::No(LogError::Unavailable(format!("NATS says: {text} ({code})")))),
        }
    }

    /// Returns the entry with our id that was there before. A leader knows an id from when it is
    /// sent on through the cluster, a little before the message is there.
    async fn what_was_there(
        &self,
        subject: &str,
        sequence: u64,
    ) -> Result<Option<Place>, LogError> {
        let found = self.leader(self.broker.next(sequence, Some(subject))).await?;
        found.filter(|raw| raw.sequence == sequence).as_ref().map(Raw::place).transpose()
    }
}
