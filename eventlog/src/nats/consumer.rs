//! An ordered consumer of our own making: messages from a sequence on, in order, until anything is odd
//! about it. Then whoever holds it makes another one, from the message after the last.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::time;

use crate::nats::broker::{Broker, Fault};
use crate::nats::message::Raw;

/// How often a consumer that has nothing to deliver says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which it is taken for dead.
const HEARD_WAIT: Duration = Duration::from_millis(2_500);
/// After so long without us the server drops it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

const CONSUMER_STALLED: &str = "Nats-Consumer-Stalled";
const LAST_CONSUMER: &str = "Nats-Last-Consumer";

pub(super) struct Consumer<'a> {
    broker: &'a Broker,
    messages: Subscriber,
    /// The number of the last message, by the consumer's own count.
    delivered: u64,
}

/// A message, and how many the log has behind it.
pub(super) struct Delivered {
    pub(super) raw: Raw,
    pub(super) pending: u64,
}

/// What a message says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    /// In the log.
    sequence: u64,
    /// In the consumer.
    number: u64,
    pending: u64,
}

impl Broker {
    /// Begins to get messages from a sequence on.
    pub(super) async fn consumer(&self, from: u64) -> Result<Consumer<'_>, Fault> {
        if !self.is_connected() {
            return Err(Fault::Unsent("there is no connection to NATS".to_owned()));
        }
        let inbox = self.client.new_inbox();
        let messages = self.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|error| Fault::Unsent(error.to_string()))?;
        let stream = &self.names.stream;
        // The last token of an inbox is as good as random.
        let name = format!("reader-{}", inbox.rsplit('.').next().unwrap_or_default());
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let asked = json!({
            "stream_name": stream,
            "action": "create",
            "config": {
                "name": name,
                "deliver_subject": inbox,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "flow_control": true,
                "idle_heartbeat": nanos(HEARTBEAT),
                "inactive_threshold": nanos(FORGOTTEN_AFTER),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        self.ask(&format!("CONSUMER.CREATE.{stream}.{name}"), &asked).await?;
        Ok(Consumer { broker: self, messages, delivered: 0 })
    }
}

impl Consumer<'_> {
    /// Returns the next message, or what is odd.
    pub(super) async fn next(&mut self) -> Result<Delivered, &'static str> {
        loop {
            let next = time::timeout(HEARD_WAIT, self.messages.next()).await;
            let message = next.map_err(|_| "nothing was heard")?.ok_or("the subscription ended")?;
            match message.status.map(|status| status.as_u16()) {
                None | Some(200) => return self.take(message),
                Some(100) => self.keep_up(&message).await?,
                Some(_) => return Err("the consumer was ended"),
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<Delivered, &'static str> {
        let places = message.reply.as_deref().and_then(places);
        let Places { sequence, number, pending } = places.ok_or("a message without its place")?;
        if number != self.delivered + 1 {
            return Err("a message did not come");
        }
        self.delivered = number;
        let raw = Raw {
            subject: message.subject.to_string(),
            sequence,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        };
        Ok(Delivered { raw, pending })
    }

    /// Answers a heartbeat, or a server that waits for a word that we keep up.
    async fn keep_up(&self, message: &Message) -> Result<(), &'static str> {
        let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name));
        let stalled = header(CONSUMER_STALLED).map(|subject| subject.as_str().to_owned());
        let answer = message.reply.as_ref().map(ToString::to_string).or(stalled);
        if let Some(subject) = answer {
            let sent = self.broker.client.publish(subject, Bytes::new()).await;
            sent.map_err(|_| "no connection")?;
        }
        let last = header(LAST_CONSUMER).and_then(|last| last.as_str().parse::<u64>().ok());
        if last.is_some_and(|last| last > self.delivered) {
            return Err("messages did not come");
        }
        Ok(())
    }
}

/// Reads the places of a message, which stand in the subject of the acknowledgement that nobody asks
/// for.
fn places(subject: &str) -> Option<Places> {
    // $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<number>.<time>.<pending>, and in newer
    // servers a domain and an account in front of the stream, and a token behind.
    let mut tokens = subject.strip_prefix("$JS.ACK.")?.split('.');
    let skip = match subject.split('.').count() {
        9 => 3,
        11.. => 5,
        _ => return None,
    };
    let sequence = tokens.nth(skip)?.parse().ok()?;
    let number = tokens.next()?.parse().ok()?;
    let pending = tokens.nth(1)?.parse().ok()?;
    Some(Places { sequence, number, pending })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_places_in_the_old_words_and_the_new() {
        for subject in [
            "$JS.ACK.ENTASIS_LEDGER.reader-x.1.42.7.1711013400.3",
            "$JS.ACK._.AHASH.ENTASIS_LEDGER.reader-x.1.42.7.1711013400.3",
            "$JS.ACK.hub.AHASH.ENTASIS_LEDGER.reader-x.1.42.7.1711013400.3.token",
        ] {
            let told = Places { sequence: 42, number: 7, pending: 3 };
            assert_eq!(places(subject), Some(told), "{subject}");
        }
        assert_eq!(places("$JS.ACK.ENTASIS_LEDGER.reader-x.1.42"), None);
        assert_eq!(places("_INBOX.x"), None);
    }
}
