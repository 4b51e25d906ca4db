//! Dropping what retention does not keep: whole sealed segments, the oldest first; and what is said
//! of entries that were dropped before they came here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::task;

use crate::embedded::contents::Tip;
use crate::embedded::floor::{self, Floor};
use crate::embedded::index::{Form, Sealed};
use crate::embedded::reader::{self, Whole};
use crate::embedded::whole_file::{self, PutError};
use crate::embedded::{Embedded, Shared, is_full, sealed, segment, unavailable};
use crate::entry::{Offset, Version};
use crate::log::{LogError, Retention, Trim, Trimmed};
use crate::stream::{Log, Stream};

#[async_trait]
impl Trim for Embedded {
    async fn trim(&self, retention: Retention) -> Result<Trimmed, LogError> {
        if self.shared.log == Log::Ledger {
            return Err(LogError::Unavailable("the ledger is kept for ever".to_owned()));
        }
        let shared = Arc::clone(&self.shared);
        task::spawn_blocking(move || shared.trim(retention))
            .await
            .unwrap_or_else(|error| Err(unavailable("the retention", &error.into())))
    }
}

impl Shared {
    pub(super) fn trim(&self, retention: Retention) -> Result<Trimmed, LogError> {
        let _dropping = self.dropping();
        if self.is_stopped() {
            return Err(self.unavailable());
        }
        let (drops, held_back) = self.droppable(retention)?;
        let (entries, bytes) = drops.iter().fold((0, 0), |(entries, bytes), segment| {
            (entries + u64::from(segment.entries), bytes + segment.bytes())
        });
        if let Some(last) = drops.last() {
            self.raise(&drops, last)?;
        }
        let (floor, first) = {
            let index = self.reader.index();
            (index.floor().offset(), index.floor().first)
        };
        // Also what an earlier one left behind.
        if let Err(error) = floor::clear_below(&*self.reader.files, first) {
            let log = self.log;
            tracing::warn!(%log, %error, "what was dropped is not deleted yet; the next time it is");
        }
        Ok(Trimmed { floor, entries, bytes, held_back })
    }

    /// Returns the segments that go, and whether more would if they were not needed.
    fn droppable(&self, retention: Retention) -> Result<(Vec<Arc<Sealed>>, bool), LogError> {
        let (sealed, open): (Vec<_>, _) = {
            let index = self.reader.index();
            (index.sealed().map(Arc::clone).collect(), index.open())
        };
        let open = open.map_or(Ok(0), |(_, file)| file.length());
        let open = open.map_err(|error| unavailable("the open segment", &error))?;
        let mut bytes = open + sealed.iter().map(|segment| segment.bytes()).sum::<u64>();
        let mut drops = Vec::new();
        for segment in sealed {
            let is_old = segment.recorded_at < retention.recorded_before;
            if !is_old && bytes <= retention.bytes_max {
                break;
            }
            if segment.next() > Offset(retention.up_to.0.saturating_add(1)) {
                return Ok((drops, true));
            }
            bytes -= segment.bytes();
            drops.push(segment);
        }
        Ok((drops, false))
    }

    /// Makes the floor behind the last of these segments durable, and forgets them.
    fn raise(&self, drops: &[Arc<Sealed>], last: &Sealed) -> Result<(), LogError> {
        let mut tips = self.reader.index().floor().tips.clone();
        for segment in drops {
            tips.extend(self.tips_of(segment)?);
        }
        let floor = Floor { first: last.next(), length_before: last.length, tips };
        self.put_floor(&floor)?;
        let first = floor.first;
        self.reader.index().raise(floor);
        self.reader.close_below(first);
        Ok(())
    }

    /// Takes streams for begun after entries that this log has never held: what is said of those is
    /// kept with what is known of entries that were dropped. Only the writer asks for it, so that no
    /// stream begins otherwise meanwhile.
    pub(super) fn begin(&self, mut tips: BTreeMap<Stream, Tip>) -> Result<(), LogError> {
        let _dropping = self.dropping();
        if self.is_stopped() {
            return Err(self.unavailable());
        }
        let mut floor = {
            let index = self.reader.index();
            tips.retain(|stream, _| index.tip(stream).0 == Version(0));
            index.floor().clone()
        };
        if tips.is_empty() {
            return Ok(());
        }
        floor.tips.extend(tips.clone());
        self.put_floor(&floor)?;
        self.reader.index().begin(floor, tips);
        Ok(())
    }

    fn put_floor(&self, floor: &Floor) -> Result<(), LogError> {
        match whole_file::put(&*self.reader.files, floor::NAME, &floor.write(self.log)) {
            Ok(()) => Ok(()),
            Err(PutError::Discarded(error)) if is_full(&error) => Err(LogError::Full),
            Err(PutError::Discarded(error)) => Err(unavailable(floor::NAME, &error)),
            Err(PutError::Broken(error)) => {
                self.stop(&error);
                Err(self.unavailable())
            }
        }
    }

    /// Returns the newest entry of each stream in a segment.
    fn tips_of(&self, segment: &Sealed) -> Result<BTreeMap<Stream, Tip>, LogError> {
        let whole = || match reader::read_whole(&*self.reader.files, self.log, segment) {
            Ok(Sealed { form: Form::Held(contents), .. }) => Ok(contents),
            Ok(_) | Err(Whole::Missing) => {
                let reason = format!("{}: the file is missing", segment::name(segment.first));
                Err(LogError::Damaged { offset: segment.first, reason })
            }
            Err(Whole::Failed(error)) => Err(error),
        };
        let contents = match &segment.form {
            Form::Held(contents) => Arc::clone(contents),
            Form::Forgotten => whole()?,
            Form::Filed { .. } => match self.front(segment) {
                Ok(Some(front)) => {
                    return Ok(front.rows.into_iter().map(|row| (row.stream, row.tip)).collect());
                }
                // The segment itself knows.
                Ok(None) | Err(_) => whole()?,
            },
        };
        Ok(contents.parts().iter().map(|(stream, part)| (stream.clone(), part.tip)).collect())
    }

    fn front(&self, segment: &Sealed) -> io::Result<Option<sealed::Front>> {
        let file = self.reader.files.open(&sealed::name(segment.first))?;
        let front = sealed::read_front(&*file)?;
        Ok(front.filter(|front| front.is_of(self.log, segment.first, segment.length)))
    }
}
