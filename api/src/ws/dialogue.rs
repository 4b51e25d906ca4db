//! What a session answers its client.

use std::sync::Arc;
use std::time::Duration;

use domain::instrument::Instrument;
use eventlog::entry::Offset;
use eventlog::log::LogError;
use serde_json::Value;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::warn;

use crate::problem::Code;
use crate::ws::answers::{self, GapReason, Listed, Resumed};
use crate::ws::bell::{Listener, Slot};
use crate::ws::ending::Ending;
use crate::ws::own::OwnSubscription;
use crate::ws::protocol::{Action, From, Mode, OwnChannel, Rejection, Request, Subscribe};
use crate::ws::resume::{FromLog, RESUME_ENTRIES_MAX};
use crate::ws::sequence;
use crate::ws::session::Session;
use crate::ws::subscription::{Stage, Subscription, SubscriptionKey};
use crate::ws::topic::{Ring, Subject, Topic, TopicKey};

/// How long a client that returns waits for its topic to begin, before it starts anew.
const BEGIN_PATIENCE: Duration = Duration::from_secs(1);

/// The log, as one message finds it.
struct Now {
    epoch: String,
    head: Offset,
    floor: Offset,
    begin_by: Instant,
}

impl Session {
    pub(super) async fn answer(&mut self, request: Request) -> Result<(), Ending> {
        let Request { id, action } = request;
        let asked = id.clone();
        let answered = match action {
            Action::Subscribe(subscribe) => self.subscribe(id, subscribe).await,
            Action::Unsubscribe(subscribe) => {
                self.unsubscribe(id, &subscribe);
                Ok(())
            }
            Action::SubscribeOwn(channel, pause) => {
                self.subscribe_own(id, channel, pause);
                Ok(())
            }
            Action::UnsubscribeOwn(channel) => {
                if let Some(slot) = self.own_slots.remove(&channel) {
                    self.own.remove(&slot);
                }
                self.acknowledge(id, ("unsubscribe", channel.as_str()), &[], &[], None);
                Ok(())
            }
            Action::Auth(presented) => return self.authenticate(id, &presented).await,
            Action::List => self.list(id).await,
            Action::Ping => {
                if id.is_some() || self.mode == Mode::Extended {
                    self.outbox.say(&answers::pong(&id));
                }
                Ok(())
            }
        };
        match answered {
            Ok(()) => Ok(()),
            // It passes, and what the session listens to goes on then.
            Err(LogError::Unavailable(_)) => {
                let detail = "the log cannot be reached: ask again";
                let rejection = Rejection::new(Code::LogUnreachable, detail);
                self.reject(&Rejection { id: asked, ..rejection });
                Ok(())
            }
            Err(error) => {
                warn!(%error, "the market log cannot be read");
                Err(Ending::Close(CloseCode::Error, "the log cannot be read".into()))
            }
        }
    }

    async fn subscribe(
        &mut self,
        id: Option<Value>,
        mut subscribe: Subscribe,
    ) -> Result<(), LogError> {
        if let Err(rejection) = self.may_hear(subscribe.channel) {
            self.reject(&Rejection { id, ..rejection });
            return Ok(());
        }
        let market = self.app.market.as_ref();
        let epoch = self.hub.epoch(market).await?;
        // Only who returns asks where the log begins and ends: others need no log for what is told.
        let (head, floor) = match &subscribe.from {
            Some(_) => tokio::try_join!(market.head(), market.floor())?,
            None => (Offset::default(), Offset::default()),
        };
        let now = Now { epoch, head, floor, begin_by: Instant::now() + BEGIN_PATIENCE };
        if let Some(from) = &mut subscribe.from
            && self.hub.is_ours(&from.epoch, &now.epoch)
        {
            from.epoch.clone_from(&now.epoch);
        }
        if subscribe.from.as_ref().is_some_and(|from| from.is_beyond(&now)) {
            let detail = "from_seq is past the end of the log";
            self.reject(&Rejection { id, ..Rejection::new(Code::WsBadParameter, detail) });
            return Ok(());
        }
        let (mut taken, mut rejected) = (Vec::new(), Vec::new());
        let mut resumed = subscribe.from.is_some();
        for symbol in &subscribe.symbols {
            match self.listen(symbol, &subscribe, &now).await {
                Ok((instrument, returns)) => {
                    resumed &= returns;
                    taken.push(instrument);
                }
                Err(rejection) => rejected.push((symbol.clone(), rejection)),
            }
        }
        if !taken.is_empty() {
            self.deadlines.subscribed();
        }
        let resumed = resumed && !taken.is_empty();
        let shown = Resumed { epoch: &now.epoch, resumed };
        let shown = (self.mode == Mode::Extended).then_some(shown);
        let what = ("subscribe", subscribe.channel.as_str());
        self.acknowledge(id, what, &taken, &rejected, shown);
        Ok(())
    }

    /// Lets the client listen to its own account: first to all there is, then to what changes.
    fn subscribe_own(&mut self, id: Option<Value>, channel: OwnChannel, pause: Duration) {
        let account = match self.may_hear_own(channel) {
            Ok(principal) => principal.account.clone(),
            Err(rejection) => return self.reject(&Rejection { id, ..rejection }),
        };
        let slot = self.next_slot();
        let listener = Arc::new(Listener::new(slot, Arc::clone(&self.bell)));
        let pause = pause.max(self.app.settings.ws.own_every);
        let owners = Arc::clone(self.hub.owners());
        let subscription = OwnSubscription::new((channel, account), listener, owners, pause);
        if let Some(replaced) = self.own_slots.insert(channel, slot) {
            self.own.remove(&replaced);
        }
        self.own.insert(slot, subscription);
        self.ready.insert(slot);
        self.deadlines.subscribed();
        self.acknowledge(id, ("subscribe", channel.as_str()), &[], &[], None);
    }

    fn next_slot(&mut self) -> Slot {
        self.last_slot = Slot(self.last_slot.0 + 1);
        self.last_slot
    }

    fn unsubscribe(&mut self, id: Option<Value>, subscribe: &Subscribe) {
        let (mut taken, mut rejected) = (Vec::new(), Vec::new());
        for symbol in &subscribe.symbols {
            match instrument(symbol) {
                Ok(instrument) => {
                    let subject = Subject::of(subscribe.channel, &subscribe.wishes);
                    let key = TopicKey { instrument: instrument.clone(), subject };
                    if let Some(slot) = self.slots.remove(&SubscriptionKey::of(&key)) {
                        self.subscriptions.remove(&slot);
                    }
                    taken.push(instrument);
                }
                Err(rejection) => rejected.push((symbol.clone(), rejection)),
            }
        }
        let what = ("unsubscribe", subscribe.channel.as_str());
        self.acknowledge(id, what, &taken, &rejected, None);
    }

    /// Says what was taken and what was not: to one who gave an id all at once, else only the latter.
    fn acknowledge(
        &mut self,
        id: Option<Value>,
        what: (&'static str, &'static str),
        taken: &[Instrument],
        rejected: &[(String, Rejection)],
        resumed: Option<Resumed<'_>>,
    ) {
        if let Some(id) = id {
            self.outbox.say(&answers::ack(&id, what, taken, rejected, resumed, self.language));
            return;
        }
        for (_, rejection) in rejected {
            self.reject(rejection);
        }
    }

    async fn list(&mut self, id: Option<Value>) -> Result<(), LogError> {
        let epoch = self.hub.epoch(self.app.market.as_ref()).await?;
        let slots = self.slots.values().filter_map(|slot| self.subscriptions.get(slot));
        let topics = slots.map(|one| Listed::of(&one.topic.key, one.after()));
        let own = self.own_slots.keys().map(|channel| Listed::own(*channel));
        let listed: Vec<Listed<'_>> = topics.chain(own).collect();
        let answer = answers::list(&id.unwrap_or_default(), &listed, &epoch);
        self.outbox.say(&answer);
        Ok(())
    }

    /// Takes one symbol in, or says why not. Returns whether it goes on from where the client was.
    async fn listen(
        &mut self,
        symbol: &str,
        subscribe: &Subscribe,
        now: &Now,
    ) -> Result<(Instrument, bool), Rejection> {
        let instrument = instrument(symbol)?;
        self.app
            .known(&instrument)
            .map_err(|problem| Rejection::new(Code::InvalidSymbol, problem.detail))?;
        let subject = Subject::of(subscribe.channel, &subscribe.wishes);
        let topic_key = TopicKey { instrument: instrument.clone(), subject };
        let key = SubscriptionKey::of(&topic_key);
        let subscriptions_max = self.app.settings.ws.subscriptions_max;
        if self.slots.len() >= subscriptions_max && !self.slots.contains_key(&key) {
            let detail = format!("{symbol}: a connection has at most {subscriptions_max}");
            return Err(Rejection::new(Code::WsTooManySubscriptions, detail));
        }
        let slot = self.next_slot();
        let listener = Arc::new(Listener::new(slot, Arc::clone(&self.bell)));
        let (topic, number) =
            self.hub.join(&topic_key, Arc::clone(&listener)).ok_or_else(|| {
                let detail = format!("{symbol}: no more different books and candles are told here");
                Rejection::new(Code::WsTooManySubscriptions, detail)
            })?;
        let start = match &subscribe.from {
            None => (Stage::Joining(None), 0),
            Some(from) => start(&topic, from, now).await,
        };
        let returns = !matches!(start, (Stage::Joining(_), _));
        let mut wishes = subscribe.wishes;
        if self.mode == Mode::Plain
            && let Subject::Book { .. } = subject
        {
            wishes.pause = self.app.settings.ws.plain_book_every;
        }
        let subscription = Subscription::new((topic, number), (slot, listener), wishes, start);
        if let Some(replaced) = self.slots.insert(key, slot) {
            self.subscriptions.remove(&replaced);
        }
        self.subscriptions.insert(slot, subscription);
        self.ready.insert(slot);
        Ok((instrument, returns))
    }
}

impl From {
    fn is_beyond(&self, now: &Now) -> bool {
        self.epoch == now.epoch && self.seq > sequence::end(now.head)
    }
}

/// Where somebody starts who was here before: behind what was sent last, if that can be had.
async fn start(topic: &Topic, from: &From, now: &Now) -> (Stage, u64) {
    let seq = from.seq;
    if from.epoch != now.epoch {
        return (Stage::Joining(Some((seq, GapReason::EpochChanged))), 0);
    }
    let patience = now.begin_by.saturating_duration_since(Instant::now());
    let has_begun = topic.has_begun(patience).await;
    let is_held = |ring: &Ring| match topic.key.subject {
        // Changes continue exactly one frame.
        Subject::Book { deltas: true, .. } => ring.holds(seq),
        Subject::Book { .. } | Subject::Trades | Subject::Candles(_) => seq >= ring.covers_after(),
    };
    if has_begun && topic.read(is_held) {
        return (Stage::Following, seq);
    }
    let (offset, _) = sequence::place(seq);
    // The way through the log begins with the entry itself: it must not have been dropped.
    let is_held = offset > now.floor || now.floor == Offset(0);
    let is_near = now.head.0 - offset.0 <= RESUME_ENTRIES_MAX;
    if topic.key.subject == Subject::Trades && is_held && is_near {
        return (Stage::Returning(FromLog::new(seq)), seq);
    }
    (Stage::Joining(Some((seq, GapReason::Expired))), 0)
}

fn instrument(symbol: &str) -> Result<Instrument, Rejection> {
    let malformed = |error| Rejection::new(Code::InvalidSymbol, format!("{symbol:?}: {error}"));
    symbol.parse().map_err(malformed)
}
