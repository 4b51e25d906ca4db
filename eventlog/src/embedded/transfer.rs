//! Entries as they are stored: read from a log on files, and put into one.
//!
//! What is put in goes as one group after the other, each of them whole or not at all, so that their
//! order stays what it was in the log they come from.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::body::Sealed;
use crate::embedded::Embedded;
use crate::embedded::contents::Tip;
use crate::embedded::read_only::ReadOnly;
use crate::embedded::writer::{Placed, Request};
use crate::entry::{Hash, Offset, Version};
use crate::header::Header;
use crate::log::{Appended, LogError, ReadLog};
use crate::stream::{Log, Stream};
use crate::transfer::{ReadStored, Stored, Transfer};

/// Entries that are put in at once, and bytes after which no further one is. What is left of a batch
/// waits for the next group.
const GROUP_ENTRIES_MAX: usize = 1_024;
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

#[async_trait]
impl ReadStored for Embedded {
    async fn stored(&self, after: Offset, limit: usize) -> Result<Vec<Stored>, LogError> {
        self.shared.reader.stored(after, limit).await
    }
}

#[async_trait]
impl ReadStored for ReadOnly {
    async fn stored(&self, after: Offset, limit: usize) -> Result<Vec<Stored>, LogError> {
        self.asked(|| self.reader.stored(after, limit)).await
    }
}

#[async_trait]
impl Transfer for Embedded {
    async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError> {
        let log = self.shared.log;
        let placed = |stored: &Stored| {
            let Stored { content, body, .. } = stored.clone();
            Ok((stored.header(log)?, Sealed { content, body, hash: stored.hash() }))
        };
        let mut batch = batch.iter().map(placed).collect::<Result<VecDeque<_>, LogError>>()?;
        let mut appended = Vec::with_capacity(batch.len());
        self.begin(&batch).await?;
        loop {
            let group = self.following(&mut batch);
            if !group.is_empty() {
                appended.extend(self.put_all(group).await?);
            } else if let Some((header, sealed)) = batch.pop_front() {
                appended.push(self.find(&header, sealed.hash).await?);
            } else {
                return Ok(appended);
            }
        }
    }
}

impl Embedded {
    /// Has those streams begun whose first entries retention has dropped elsewhere, before they came
    /// here: after the entry that the first of the batch names as the one before.
    async fn begin(&self, batch: &VecDeque<Placed>) -> Result<(), LogError> {
        if self.shared.log == Log::Ledger {
            // Of the ledger nothing is ever dropped: what is missing is missing.
            return Ok(());
        }
        let tips = {
            let index = self.shared.reader.index();
            let mut firsts: BTreeMap<&Stream, &Header> = BTreeMap::new();
            for (header, _) in batch {
                firsts.entry(&header.stream).or_insert(header);
            }
            let is_new = |header: &&Header| index.tip(&header.stream).0 == Version(0);
            firsts.into_values().filter(is_new).filter_map(before).collect::<BTreeMap<_, _>>()
        };
        if tips.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.send(Request::Begin { tips, answer }).await?;
        answered.await.unwrap_or_else(|_| Err(self.shared.unavailable()))
    }

    /// Takes from a batch what continues its streams, as far as it goes into one group.
    fn following(&self, batch: &mut VecDeque<Placed>) -> Vec<Placed> {
        let index = self.shared.reader.index();
        let mut tips: BTreeMap<Stream, (Version, Hash)> = BTreeMap::new();
        let (mut group, mut bytes) = (Vec::new(), 0);
        while bytes < GROUP_BYTES_MAX && group.len() < GROUP_ENTRIES_MAX {
            let follows = |(header, _): &mut Placed| {
                let tip = tips.get(&header.stream).copied();
                let (version, hash) = tip.unwrap_or_else(|| index.tip(&header.stream));
                (version.next(), hash) == (header.version, header.prev_hash)
            };
            let Some((header, sealed)) = batch.pop_front_if(follows) else { break };
            tips.insert(header.stream.clone(), (header.version, sealed.hash));
            bytes += sealed.body.len();
            group.push((header, sealed));
        }
        group
    }

    async fn put_all(&self, group: Vec<Placed>) -> Result<Vec<Appended>, LogError> {
        let versions: Vec<Version> = group.iter().map(|(header, _)| header.version).collect();
        let stream = group.first().map(|(header, _)| header.stream.clone());
        let Some(first) = self.put(group).await? else {
            return Err(self.conflict(stream.as_ref()));
        };
        let appended =
            |(offset, version)| Appended { offset: Offset(offset), version, repeated: false };
        Ok((first.0..).zip(versions).map(appended).collect())
    }

    /// Returns where an entry stands that does not continue its stream: it is in already, or another
    /// has its place.
    async fn find(&self, header: &Header, hash: Hash) -> Result<Appended, LogError> {
        let after = Version(header.version.0.saturating_sub(1));
        let held = self.read_stream(&header.stream, after, 1).await?;
        let is_it =
            held.first().filter(|entry| (entry.version, entry.hash) == (header.version, hash));
        let Some(entry) = is_it else { return Err(self.conflict(Some(&header.stream))) };
        Ok(Appended { offset: entry.offset, version: entry.version, repeated: true })
    }

    fn conflict(&self, stream: Option<&Stream>) -> LogError {
        let actual = stream.map(|stream| self.shared.reader.index().tip(stream).0);
        LogError::Conflict { actual: actual.filter(|version| *version > Version(0)) }
    }
}

/// Returns what an entry says of the one before it. Under which ids that came, nobody here knows; and
/// it has no place in this log.
fn before(header: &Header) -> Option<(Stream, Tip)> {
    let version = Version(header.version.0.checked_sub(1).filter(|version| *version > 0)?);
    let (append_id, command_id) = (Uuid::nil(), Uuid::nil());
    let tip = Tip { version, offset: Offset(0), hash: header.prev_hash, append_id, command_id };
    Some((header.stream.clone(), tip))
}
