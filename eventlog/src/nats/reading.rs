//! Reading a log from the broker: at full speed from any replica, and where that has no more, from the
//! leader, whose word it is that there is no more. A hole in the sequences is damage, unless retention
//! made it.

use std::collections::VecDeque;

use crate::entry::{Offset, Version};
use crate::log::LogError;
use crate::nats::Shared;
use crate::nats::ahead::{Found, Reader};
use crate::nats::broker::{BATCH_MESSAGES_MAX, Fault};
use crate::nats::message::Raw;
use crate::nats::replay::Replay;
use crate::stream::{Log, Stream};

/// Entries that one read of a log asks for ahead of its limit: small reads are served from them.
const AHEAD_ENTRIES: usize = 512;
/// Who asks for fewer wants just them.
const SMALL_LIMIT: usize = 16;
/// Versions that a read of a stream may pass over. A place nearer than that is not searched for.
const PASS_VERSIONS_MAX: u64 = 64;
/// Steps of a search for a version's place: each halves the range at least every other time.
const SEARCH_STEPS_MAX: usize = 130;

impl Shared {
    /// Returns messages after an offset, whose sequences rise by one; none only when there are none.
    pub(super) async fn raws(&self, after: Offset, limit: usize) -> Result<Vec<Raw>, LogError> {
        let Some(from) = after.0.checked_add(1).filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        match self.ahead.take(from, limit) {
            Found::Raws(raws) => return Ok(raws),
            Found::Replay(mut replay) => {
                let raws = replay.take(limit).await;
                if let Some(last) = raws.last() {
                    let next = last.sequence + 1;
                    self.ahead.put(Reader { next, raws: VecDeque::new(), replay: Some(replay) });
                    return Ok(raws);
                }
            }
            Found::Nothing => {}
        }
        let asked = if limit < SMALL_LIMIT { limit } else { limit.max(AHEAD_ENTRIES) };
        let asked = asked.min(BATCH_MESSAGES_MAX);
        let raws = self.history(from, None, asked).await?;
        let mut raws = match raws.first() {
            Some(first) if first.sequence == from => raws,
            first => self.next_of_leader(from, first.map(|raw| raw.sequence)).await?,
        };
        let rising = raws.windows(2).take_while(|pair| match pair {
            [one, next] => one.sequence + 1 == next.sequence,
            _ => false,
        });
        let rising = rising.count() + usize::from(!raws.is_empty());
        raws.truncate(rising);
        // Who has had as many as were asked for will want those behind them as well.
        let is_full = asked >= AHEAD_ENTRIES && raws.len() >= AHEAD_ENTRIES;
        let replay = raws.last().filter(|_| is_full);
        let replay = replay.map(|last| Replay::begin(&self.broker, last.sequence + 1));
        let rest = if raws.len() > limit { raws.split_off(limit) } else { Vec::new() };
        if let Some(last) = raws.last()
            && (replay.is_some() || !rest.is_empty())
        {
            self.ahead.put(Reader { next: last.sequence + 1, raws: rest.into(), replay });
        }
        Ok(raws)
    }

    /// Returns history from any replica, and nothing where that one does not answer: the leader may.
    async fn history(
        &self,
        from: u64,
        subject: Option<&str>,
        messages: usize,
    ) -> Result<Vec<Raw>, LogError> {
        match self.broker.history(from, subject, messages).await {
            Ok(raws) => Ok(raws),
            Err(fault @ Fault::Unsent(_)) => Err(fault.unavailable()),
            Err(Fault::Silence(_) | Fault::No { .. }) => Ok(Vec::new()),
        }
    }

    /// Returns the message at a sequence, or where retention has dropped it the first one held; where
    /// the log ends, nothing. All else is damage.
    async fn next_of_leader(&self, from: u64, seen: Option<u64>) -> Result<Vec<Raw>, LogError> {
        if seen.is_none() && self.head_of_leader().await?.0 < from {
            return Ok(Vec::new());
        }
        let Some(next) = self.leader(self.broker.next(from, None)).await? else {
            // All that there was has aged out.
            let held_back = self.names().log == Log::Ledger;
            return if held_back { Err(hole(from, None)) } else { Ok(Vec::new()) };
        };
        if next.sequence > from {
            // Asked after the message, so that what ages out meanwhile is no hole.
            let info = self.leader(self.broker.info()).await?;
            self.note(&info);
            if self.names().log == Log::Ledger || info.state.first_seq < next.sequence {
                return Err(hole(from, Some(next.sequence)));
            }
        }
        Ok(vec![next])
    }

    /// Returns the newest offset, from the leader.
    pub(super) async fn head_of_leader(&self) -> Result<Offset, LogError> {
        let info = self.leader(self.broker.info()).await?;
        self.note(&info);
        Ok(Offset(info.state.last_seq))
    }

    /// Waits for an answer of the leader, and makes of none what it is for a reader.
    pub(super) async fn leader<T>(
        &self,
        asked: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, LogError> {
        asked.await.map_err(Fault::unavailable)
    }

    /// Returns messages of a stream after a version, whose versions rise by one.
    pub(super) async fn raws_of(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Raw>, LogError> {
        if limit == 0 || stream.log() != self.names().log {
            return Ok(Vec::new());
        }
        let subject = self.names().subject(stream);
        let Some(newest) = self.leader(self.broker.last(&subject)).await? else {
            return Ok(Vec::new());
        };
        let newest_place = newest.place()?;
        self.tips.note(stream, newest_place);
        if newest_place.version <= after {
            return Ok(Vec::new());
        }
        if newest_place.version == after.next() {
            return Ok(vec![newest]);
        }
        let mut from = self.sequence_near(stream, &subject, after, &newest).await?;
        let mut raws: Vec<Raw> = Vec::new();
        let wanted = usize::try_from(newest_place.version.0 - after.0).unwrap_or(usize::MAX);
        let wanted = wanted.min(limit);
        loop {
            let pass = usize::try_from(PASS_VERSIONS_MAX).unwrap_or_default();
            let asked = (wanted - raws.len()).saturating_add(pass);
            let read = self.history(from, Some(&subject), asked).await?;
            let read = if read.is_empty() {
                // Replicas that are behind have nothing more: the leader has.
                self.leader(self.broker.next(from, Some(&subject))).await?.into_iter().collect()
            } else {
                read
            };
            let Some(last) = read.last() else { break };
            from = last.sequence + 1;
            raws.extend(read.into_iter().filter(|raw| raw.version().is_none_or(|it| it > after)));
            if raws.len() >= wanted {
                break;
            }
        }
        raws.truncate(wanted);
        if let Some(Ok(place)) = raws.last().map(Raw::place) {
            self.places.note(stream, place.version, place.number);
        }
        self.rising(&subject, after, raws).await
    }

    /// Cuts messages of a stream at the first one that does not follow the one before; where that is
    /// the very first, it is damage, unless retention has dropped those before it.
    async fn rising(
        &self,
        subject: &str,
        after: Version,
        mut raws: Vec<Raw>,
    ) -> Result<Vec<Raw>, LogError> {
        let Some(first) = raws.first() else { return Ok(raws) };
        let place = first.place()?;
        if place.version != after.next() {
            let held = self.leader(self.broker.next(1, Some(subject))).await?;
            let is_first = held.is_some_and(|held| held.sequence == place.number);
            if self.names().log == Log::Ledger || !is_first {
                let reason = format!("version {} of {subject} follows {after}", place.version);
                return Err(LogError::Damaged { offset: first.offset(), reason });
            }
        }
        let follows = (place.version.0..).zip(&raws);
        let rising = follows.take_while(|(version, raw)| raw.version() == Some(Version(*version)));
        let rising = rising.count();
        raws.truncate(rising);
        Ok(raws)
    }

    /// Returns the sequence of an entry at or before a version's successor: near it, where many lie
    /// between.
    async fn sequence_near(
        &self,
        stream: &Stream,
        subject: &str,
        after: Version,
        newest: &Raw,
    ) -> Result<u64, LogError> {
        let known = [self.places.before(stream, after), self.tips.before(stream, after)];
        let known = known.into_iter().flatten().max();
        // A message that was seen: whatever a replica says, what comes after it is enough.
        let (mut near, mut near_sequence) = known.unwrap_or((Version(0), 0));
        let (mut low, mut high) = (near_sequence, newest.sequence);
        let high_version = newest.place()?.version;
        for step in 0..SEARCH_STEPS_MAX {
            if after.0 - near.0 <= PASS_VERSIONS_MAX || high.saturating_sub(low) <= 1 {
                break;
            }
            let middle = if step % 2 == 0 {
                // Where it would be if entries came evenly.
                let share = u128::from(newest.sequence - near_sequence)
                    * u128::from(after.0 - near.0)
                    / u128::from((high_version.0 - near.0).max(1));
                near_sequence.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
            } else {
                low + (high - low) / 2
            };
            let middle = middle.clamp(low + 1, high - 1);
            // Any replica will do: one that is behind has an older message, which is before it too.
            let found = self.broker.newest_up_to(subject, middle).await;
            let found = found.map_err(Fault::unavailable)?;
            match found.as_ref().map(Raw::place).transpose()? {
                Some(place) if place.version > after => high = place.number,
                Some(place) => {
                    if place.version > near {
                        (near, near_sequence) = (place.version, place.number);
                    }
                    low = middle;
                }
                None => low = middle,
            }
        }
        Ok(near_sequence.max(1))
    }
}

fn hole(from: u64, next: Option<u64>) -> LogError {
    let reason = match next {
        Some(next) => format!("the broker has nothing from here to {next}"),
        None => "the broker has nothing from here on".to_owned(),
    };
    LogError::Damaged { offset: Offset(from), reason }
}
