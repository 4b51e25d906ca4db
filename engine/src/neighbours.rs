//! The other nodes of the house, over the broker that they share.
//!
//! Each node tells on `{prefix}.nodes.told` what it has accepted of accounts (`api::limits::shared`),
//! and once a second that it is there. Who is shown the ticket of another asks it on
//! `{prefix}.nodes.tickets.{tag}`. Nothing of it is kept anywhere: what is lost while the broker is away is
//! lost, and each node goes on with its own counts.
//!
//! Who is there stands in `known`.

use std::sync::Arc;
use std::time::Duration;

use api::gate::Gate;
use api::limits::shared::{TELL_EVERY, Told};
use api::principal::Principal;
use api::tickets::{Shown, Tag};
use async_nats::connection::State;
use async_nats::{Client, Message, Request, Subscriber};
use async_trait::async_trait;
use commands::clock::Clock;
use domain::name::NodeId;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::neighbours::known::{Known, Notice};

mod known;

/// How long a node that issued a ticket may take to answer. Then the ticket is no good.
const REDEEM_PATIENCE: Duration = Duration::from_millis(500);

/// Time from one sign of life to the next.
const HELLO_EVERY: Duration = Duration::from_secs(1);

/// How long the client may take to queue a message. It is dropped then: a broker that takes nothing
/// must not keep us from hearing that it is back.
const PUBLISH_PATIENCE: Duration = Duration::from_millis(50);

/// Accounts of one message: with all slices of a minute each it fits into what a broker takes.
const ACCOUNTS_TOLD_MAX: usize = 100;

/// Messages of one telling. What is left is told with the next.
const MESSAGES_MAX: usize = 100;

/// How long nobody is listened to after a subscription failed.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// What a node tells of itself and of what it has accepted.
#[derive(Debug, Serialize, Deserialize)]
struct Telling {
    node: NodeId,
    /// Tells one run of a node from others.
    run: Tag,
    /// The fingerprint of its token keys.
    token_keys: String,
    told: Vec<Told>,
}

/// Speaks to the other nodes.
pub(crate) struct Neighbours {
    client: Client,
    prefix: String,
}

impl Neighbours {
    pub(crate) fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned() }
    }

    /// Tells and listens until `stop`.
    pub(crate) async fn run(
        &self,
        node: NodeId,
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        let mut talk = Talk::of(self, node, gate, clock);
        stop.run_until_cancelled(talk.keep_on()).await;
    }

    fn told_subject(&self) -> String {
        format!("{}.nodes.told", self.prefix)
    }

    fn tickets_subject(&self, issuer: &Tag) -> String {
        format!("{}.nodes.tickets.{issuer}", self.prefix)
    }
}

#[async_trait]
impl api::neighbours::Neighbours for Neighbours {
    async fn redeem(&self, issuer: &Tag, shown: &Shown) -> Option<Principal> {
        let question = serde_json::to_vec(shown).ok()?;
        let request = Request::new().payload(question.into()).timeout(Some(REDEEM_PATIENCE));
        let asked = self.client.send_request(self.tickets_subject(issuer), request);
        // The client's own time begins when the question is queued.
        match timeout(REDEEM_PATIENCE, asked).await {
            Ok(Ok(answer)) => serde_json::from_slice(&answer.payload).ok()?,
            Ok(Err(error)) => {
                tracing::info!(%issuer, %error, "the node of a ticket cannot be asked");
                None
            }
            Err(_) => {
                tracing::info!(%issuer, "the node of a ticket does not answer");
                None
            }
        }
    }
}

/// What one run of a node says and hears.
struct Talk<'a> {
    neighbours: &'a Neighbours,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    node: NodeId,
    known: Known,
    hello_at: Instant,
    /// Whether it was said that nobody is heard.
    is_deaf: bool,
}

impl<'a> Talk<'a> {
    fn of(
        neighbours: &'a Neighbours,
        node: NodeId,
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let known = Known::of(node.clone());
        Self { neighbours, gate, clock, node, known, hello_at: Instant::now(), is_deaf: false }
    }

    async fn keep_on(&mut self) {
        self.gate.limits.share_among(1);
        loop {
            let tickets = self.neighbours.tickets_subject(self.gate.tickets.tag());
            let client = &self.neighbours.client;
            let told = client.subscribe(self.neighbours.told_subject()).await;
            let asked = client.subscribe(tickets).await;
            match (told, asked) {
                (Ok(told), Ok(asked)) => self.talk(told, asked).await,
                (Err(error), _) | (_, Err(error)) => {
                    tracing::error!(%error, "the other nodes cannot be listened to");
                }
            }
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
    }

    /// Tells and listens until a subscription ends, which it does when its client is closed.
    async fn talk(&mut self, mut told: Subscriber, mut asked: Subscriber) {
        let mut telling = interval(TELL_EVERY);
        // After a pause all of it is told at once.
        telling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = told.next() => match message {
                    Some(message) => self.hear(&message),
                    None => return,
                },
                message = asked.next() => match message {
                    Some(message) => self.answer(message).await,
                    None => return,
                },
                _ = telling.tick() => self.tell().await,
            }
        }
    }

    /// Takes in what another node tells.
    fn hear(&mut self, message: &Message) {
        let Ok(telling) = serde_json::from_slice::<Telling>(&message.payload) else {
            // Of another version: it counts for itself.
            tracing::debug!("another node tells what cannot be read");
            return;
        };
        if telling.run == *self.gate.tickets.tag() {
            return;
        }
        let same_keys = telling.token_keys == self.gate.token_keys.load().fingerprint();
        let heard = (telling.run, telling.node.clone());
        if let Some(notice) = self.known.hear(heard, same_keys, Instant::now()) {
            note(notice, &telling.node);
        }
        self.gate.limits.take_in(&telling.told);
        self.gate.limits.share_among(self.known.nodes());
    }

    /// Takes a ticket of ours that was shown to another node, and tells that one whose it was.
    async fn answer(&self, message: Message) {
        let Some(reply) = message.reply else { return };
        let shown = serde_json::from_slice::<Shown>(&message.payload).ok();
        let principal = shown.and_then(|shown| self.gate.tickets.redeem(&shown, self.clock.now()));
        if let Ok(answer) = serde_json::to_vec(&principal) {
            self.publish(reply.to_string(), answer).await;
        }
    }

    /// Tells the others what was accepted, and that we are there.
    async fn tell(&mut self) {
        let now = Instant::now();
        for node in self.known.forget(now) {
            tracing::warn!(%node, "another node is not heard any more");
        }
        self.gate.limits.share_among(self.known.nodes());
        if self.neighbours.client.connection_state() != State::Connected {
            if !self.is_deaf {
                self.is_deaf = true;
                tracing::warn!(
                    "the broker is away, and with it the other nodes: limits of accounts count \
                     what this node has accepted"
                );
            }
            return;
        }
        if std::mem::take(&mut self.is_deaf) {
            tracing::info!("the broker is back: limits of accounts are shared again");
        }
        let token_keys = self.gate.token_keys.load().fingerprint();
        for _ in 0..MESSAGES_MAX {
            let told = self.gate.limits.tell(ACCOUNTS_TOLD_MAX);
            let is_last = told.len() < ACCOUNTS_TOLD_MAX;
            if told.is_empty() && now < self.hello_at {
                return;
            }
            let (node, run) = (self.node.clone(), self.gate.tickets.tag().clone());
            let telling = Telling { node, run, token_keys: token_keys.clone(), told };
            let Ok(payload) = serde_json::to_vec(&telling) else { return };
            self.publish(self.neighbours.told_subject(), payload).await;
            self.hello_at = now + HELLO_EVERY;
            if is_last {
                return;
            }
        }
    }

    async fn publish(&self, subject: String, payload: Vec<u8>) {
        let published = self.neighbours.client.publish(subject, payload.into());
        match timeout(PUBLISH_PATIENCE, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "another node was not told"),
            Err(_) => tracing::debug!("another node was not told: the broker takes nothing"),
        }
    }
}

/// Says in the log lines what was noticed of another node.
fn note(notice: Notice, node: &NodeId) {
    match notice {
        Notice::Came => tracing::info!(%node, "another node is there: limits are shared with it"),
        Notice::SameName => tracing::error!(
            %node,
            "another node has our name: give each its own (`node`), or their records get mixed up"
        ),
        Notice::OtherKeys => tracing::error!(
            %node,
            "another node has other keys of tokens: what one issues the other refuses; give all \
             nodes the same (auth.token_keys or auth.secret)"
        ),
        Notice::TooMany => {
            tracing::error!(%node, "there are too many nodes: limits are not shared with it");
        }
    }
}

#[cfg(test)]
mod tests;
