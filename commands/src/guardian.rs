//! Closes positions when a trade meets their stop-loss, their take-profit or their liquidation price.
//!
//! A reader of both logs with a small fold of its own. Which trade fires which condition is a matter
//! of the logs alone: the first that meets it after the market entry at which it was made, judged and
//! filled by the market as it stood there. No clock is asked, and nothing depends on how far one log
//! is read when the other is. So any number of guardians fire the same, also those that come late:
//! each firing has one name, and happens once.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::event::Event;
use domain::fill::MarketEntry;
use eventlog::entry::{Entry, Offset, Version};
use eventlog::keep::{Keep, KeepError};
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::{Log, Stream};

use self::armed::Armed;
use self::conditions::{Change, Condition, Name};
use self::firing::{Fired, Met};
use self::kept::{Keeper, Known, Place};
use self::reading::{read, read_stream};
use self::seen::Seen;
use self::watched::{Span, Watched};
use crate::clock::Clock;
use crate::desk::Desk;
use crate::pen::Patience;
use crate::terms::TradingTerms;

mod conditions;

mod armed;

mod seen;

mod watched;

mod firing;

mod kept;

mod reading;

/// Time that a guardian has to come to a place where it can stop, and to keep what it knows. Past it
/// the next run reads a little more.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Returns the market log's entry up to which a guardian has looked at every trade and need not look
/// again; `None` while none has kept anything.
pub async fn passed(keep: &dyn Keep) -> Result<Option<Offset>, KeepError> {
    kept::passed(keep).await
}

/// What a guardian stands on.
pub struct GuardianParts {
    pub ledger: Arc<dyn ReadLog>,
    pub market: Arc<dyn ReadLog>,
    pub desk: Arc<Desk>,
    pub keep: Arc<dyn Keep>,
    pub clock: Arc<dyn Clock>,
    pub terms: Arc<TradingTerms>,
}

/// Looks at every trade for those who cannot.
pub struct Guardian {
    parts: GuardianParts,
    known: Known,
    /// Conditions that were learned and have not been looked at in their market.
    fresh: BTreeMap<Name, Condition>,
    /// Conditions that fired and are still armed.
    gone: Vec<(Name, Condition)>,
    /// Conditions that were met and could not be filled: it is said once of each.
    unfilled: BTreeSet<Name>,
    keeper: Keeper,
    started: bool,
    /// How long to wait for a ledger that is behind what the desk has seen of it.
    behind: Option<Patience>,
}

/// How far an entry was passed, or a look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// Whole: with the prices of its trades.
    Whole(Option<Span>),
    /// Up to a condition whose position has changed since. It is to be passed again, from its start,
    /// when the ledger has been read: what fired by then does not stand any more.
    Behind,
}

impl Guardian {
    pub fn new(parts: GuardianParts) -> Self {
        let keeper = Keeper::new(parts.keep.clone());
        Self {
            parts,
            known: Known::default(),
            fresh: BTreeMap::new(),
            gone: Vec::new(),
            unfilled: BTreeSet::new(),
            keeper,
            started: false,
            behind: None,
        }
    }

    /// Guards until told to stop, and keeps then what it knows. Ends early only with an error that
    /// waiting does not mend.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), LogError> {
        let mut stop = pin!(stop);
        loop {
            let is_stopped = {
                let mut round = pin!(self.round());
                tokio::select! {
                    moved = &mut round => moved.map(|_| false)?,
                    // Within a round nothing can be kept: a condition may have fired, and its trade
                    // not be passed.
                    () = &mut stop => match tokio::time::timeout(END_PATIENCE, round).await {
                        Ok(moved) => moved.map(|_| true)?,
                        Err(_) => return Ok(()),
                    },
                }
            };
            // What was learned and not armed yet would be taken for looked at.
            let is_whole = self.fresh.is_empty();
            if is_whole {
                self.keeper.look(&self.known, self.parts.clock.now());
            }
            let is_stopped = is_stopped
                || tokio::select! {
                    () = self.wait() => false,
                    () = &mut stop => true,
                };
            if is_stopped && is_whole {
                let finish = self.keeper.finish(&self.known, self.parts.clock.now());
                if tokio::time::timeout(END_PATIENCE, finish).await.is_err() {
                    tracing::warn!(
                        "no time to keep what the guardian knows: the next run reads more"
                    );
                }
            }
            if is_stopped {
                return Ok(());
            }
        }
    }

    /// Guards until both logs were read to where they end now, and to the end of what came of that.
    pub async fn catch_up(&mut self) -> Result<(), LogError> {
        while self.round().await? {}
        Ok(())
    }

    /// Returns when there is something to read, or it is worth a try.
    async fn wait(&self) {
        if self.behind.is_some() {
            return;
        }
        let (ledger, market) = (self.known.ledger.offset, self.known.market.offset);
        let waited = tokio::select! {
            waited = self.parts.ledger.wait_after(ledger) => waited,
            waited = self.parts.market.wait_after(market) => waited,
        };
        if waited.is_err() {
            // To read it says what is wrong with it.
            Patience::default().pause().await;
        }
    }

    /// Reads the ledger to its end, and some of the market. Returns whether there was anything.
    async fn round(&mut self) -> Result<bool, LogError> {
        self.start().await?;
        let learned = self.read_ledger().await?;
        match &mut self.behind {
            // The desk has seen more of the ledger than can be read here yet.
            Some(patience) if !learned => patience.pause().await,
            _ => {}
        }
        let before = self.known.market.offset;
        let is_whole = self.arm().await? && self.read_market().await?;
        if is_whole || learned {
            self.behind = None;
        }
        if !is_whole {
            self.behind.get_or_insert_default();
        }
        Ok(learned || !is_whole || self.known.market.offset > before)
    }

    async fn start(&mut self) -> Result<(), LogError> {
        if !self.started {
            let GuardianParts { keep, ledger, market, .. } = &self.parts;
            let known = kept::load(keep.as_ref(), ledger.as_ref(), market.as_ref()).await?;
            self.known = known.unwrap_or_default();
            self.started = true;
        }
        Ok(())
    }

    /// Reads the ledger to its end; returns whether there was anything.
    async fn read_ledger(&mut self) -> Result<bool, LogError> {
        let before = self.known.ledger.offset;
        loop {
            let after = self.known.ledger.offset;
            let entries = read(Log::Ledger, self.parts.ledger.as_ref(), after).await?;
            if entries.is_empty() {
                return Ok(self.known.ledger.offset > before);
            }
            for entry in &entries {
                self.learn(entry);
            }
        }
    }

    fn learn(&mut self, entry: &Entry) {
        for change in self.known.conditions.take(entry) {
            match change {
                Change::Set(name, condition) => {
                    self.fresh.insert(name, condition);
                }
                Change::Gone(name, condition) => {
                    self.fresh.remove(&name);
                    disarm(&mut self.known.markets, &name, &condition);
                }
            }
        }
        self.known.ledger = Place::of(entry);
        self.keeper.count(1);
    }

    /// Arms the conditions that were learned, and looks back first for those that look at entries
    /// that were passed already. Returns whether that came to an end.
    async fn arm(&mut self) -> Result<bool, LogError> {
        let mut late: BTreeMap<Stream, Vec<(Name, Condition)>> = BTreeMap::new();
        for (name, condition) in std::mem::take(&mut self.fresh) {
            let stream = condition.stream();
            let watched = self.known.markets.entry(stream.clone()).or_default();
            if watched.may_have_met(&condition) {
                late.entry(stream).or_default().push((name, condition));
            } else {
                watched.armed.add(name, condition, watched.seen.version);
            }
        }
        let mut is_whole = true;
        for (stream, conditions) in late {
            is_whole = is_whole && self.look_back(&stream, &conditions).await? != Passed::Behind;
            self.sweep();
            for (name, condition) in conditions {
                if !self.known.conditions.holds(&name) {
                    continue;
                }
                if is_whole {
                    let Watched { seen, armed, .. } =
                        self.known.markets.entry(stream.clone()).or_default();
                    armed.add(name, condition, seen.version);
                } else {
                    self.fresh.insert(name, condition);
                }
            }
        }
        Ok(is_whole)
    }

    /// Passes the entries again that these conditions look at, up to where their market stands.
    async fn look_back(
        &mut self,
        stream: &Stream,
        conditions: &[(Name, Condition)],
    ) -> Result<Passed, LogError> {
        let Some(watched) = self.known.markets.get(stream) else { return Ok(Passed::Whole(None)) };
        let until = watched.seen.version;
        let after = conditions.iter().map(|(_, condition)| Version(condition.after.version));
        let mut seen = watched.copy(after.min().unwrap_or(until));
        let mut armed = Armed::default();
        for (name, condition) in conditions {
            armed.add(name.clone(), condition.clone(), seen.version);
        }
        let market = self.parts.market.clone();
        loop {
            let entries = read_stream(market.as_ref(), stream, seen.version, until).await?;
            if entries.is_empty() {
                return Ok(Passed::Whole(None));
            }
            for entry in &entries {
                if self.pass(entry, &mut seen, &mut armed).await? == Passed::Behind {
                    return Ok(Passed::Behind);
                }
            }
        }
    }

    /// Reads some of the market. Returns whether all that was read was passed whole.
    async fn read_market(&mut self) -> Result<bool, LogError> {
        let after = self.known.market.offset;
        for entry in read(Log::Market, self.parts.market.as_ref(), after).await? {
            if let Stream::Market { .. } = &entry.stream
                && !self.follow(&entry).await?
            {
                return Ok(false);
            }
            self.known.market = Place::of(&entry);
            self.keeper.count(1);
        }
        Ok(true)
    }

    /// Passes the next entry of a market. Returns whether it was passed whole.
    async fn follow(&mut self, entry: &Entry) -> Result<bool, LogError> {
        let mut watched = self.known.markets.remove(&entry.stream).unwrap_or_default();
        let before = watched.seen.version;
        let passed = self.pass(entry, &mut watched.seen, &mut watched.armed).await?;
        match passed {
            Passed::Whole(span) => watched.passed(span),
            Passed::Behind => {
                watched.seen = self.fold_again(&entry.stream, &watched, before).await?;
            }
        }
        self.known.markets.insert(entry.stream.clone(), watched);
        self.sweep();
        Ok(passed != Passed::Behind)
    }

    /// Takes in the events of an entry one by one, and fires what a trade meets.
    async fn pass(
        &mut self,
        entry: &Entry,
        seen: &mut Seen,
        armed: &mut Armed,
    ) -> Result<Passed, LogError> {
        let Stream::Market { venue, instrument } = entry.stream.clone() else {
            return Ok(Passed::Whole(None));
        };
        let market = MarketEntry { venue, instrument, version: entry.version.0 };
        seen.come_to(entry.version);
        armed.come_to(entry.version);
        let mut span = None;
        for event in &entry.events {
            let Event::Market(event) = event else { continue };
            let Some(tick) = seen.take(event) else { continue };
            span = Some(Span::with(span, tick.price));
            let names = armed.met(tick.price);
            let met = Met { tick, sight: seen.sight(tick, &market) };
            // One trade far from the book is no market: who is met by it waits for the next.
            if names.is_empty() || met.sight.is_suspect() {
                continue;
            }
            for name in names {
                if !self.fire(&name, met).await? {
                    return Ok(Passed::Behind);
                }
            }
        }
        Ok(Passed::Whole(span))
    }

    /// Fires a condition that is met, if it stands. Returns whether the trade that meets it is done
    /// with it.
    async fn fire(&mut self, name: &Name, met: Met<'_>) -> Result<bool, LogError> {
        let conditions = &mut self.known.conditions;
        if !conditions.holds(name) {
            return Ok(true);
        }
        let GuardianParts { desk, terms, .. } = &self.parts;
        match firing::fire(desk, terms, conditions, name, met).await? {
            Fired::Closed => self.gone.extend(conditions.forget(&name.account, name.position_id)),
            Fired::Refused => {
                let condition = conditions.remove(name);
                self.gone.extend(condition.map(|condition| (name.clone(), condition)));
            }
            Fired::NotFilled(reason) => {
                self.unfilled.retain(|name| conditions.holds(name));
                if self.unfilled.insert(name.clone()) {
                    tracing::error!(condition = ?name, reason, "no fill: the next trade is tried");
                }
            }
            Fired::Behind => return Ok(false),
        }
        Ok(true)
    }

    /// Disarms what does not stand any more because it fired.
    fn sweep(&mut self) {
        for (name, condition) in self.gone.drain(..) {
            disarm(&mut self.known.markets, &name, &condition);
        }
    }

    /// Returns a market as it stood after an entry that was passed.
    async fn fold_again(
        &self,
        stream: &Stream,
        watched: &Watched,
        until: Version,
    ) -> Result<Seen, LogError> {
        let mut seen = watched.copy(until);
        loop {
            let market = self.parts.market.as_ref();
            let entries = read_stream(market, stream, seen.version, until).await?;
            if entries.is_empty() {
                return Ok(seen);
            }
            for entry in &entries {
                seen.fold(entry);
            }
        }
    }
}

fn disarm(markets: &mut BTreeMap<Stream, Watched>, name: &Name, condition: &Condition) {
    if let Some(watched) = markets.get_mut(&condition.stream()) {
        watched.armed.remove(name, condition);
    }
}

#[cfg(test)]
mod tests;
