//! Reading entries out of the files: each is held against its checksum, and what an index says
//! against what stands there. A disk may have forgotten what it knew at the start.
//!
//! When a sealed segment does not read as its index says, the segment itself decides: it is read
//! whole. If it holds, its index was wrong and is made anew; if not, the first entry that does not
//! hold is named.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task;

use crate::embedded::chores::Chores;
use crate::embedded::contents::Posting;
use crate::embedded::frames::{Frames, Read, Trouble};
use crate::embedded::handles::Handles;
use crate::embedded::index::{Form, Index, Sealed};
use crate::embedded::pieces::{Piece, Postings, Source, Stretch, Wanted};
use crate::embedded::scan::{self, Fault};
use crate::embedded::segment;
use crate::embedded::{sealed, unavailable};
use crate::entry::{Entry, Offset, Version};
use crate::files::{File, Files};
use crate::log::{LogError, Tip};
use crate::stream::{Log, Stream};
use crate::transfer::Stored;

/// Bytes that one read takes from the disk; one entry may be more. A reader asks again for more.
pub(super) const READ_BYTES_MAX: u64 = 1 << 20;

/// Bytes that are read on the caller's thread. They are in the page cache as a rule, and a change
/// of threads would cost more than they do; more than this could hold up others of its runtime.
const READ_INLINE_BYTES_MAX: u64 = 32 * 1024;

/// One log, as readers see it.
pub(super) struct Reader {
    pub(super) log: Log,
    pub(super) files: Arc<dyn Files>,
    /// Never held while the disk works.
    index: Mutex<Index>,
    handles: Mutex<Handles>,
    /// Held while a segment is read whole, so that of many readers only one does.
    settling: Mutex<()>,
    /// Where it is said that an index is to be written anew.
    chores: Arc<Chores>,
}

/// What somebody wants to read.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Log { after: Offset, limit: usize },
    Stream { stream: Stream, after: Version, limit: usize },
}

impl Reader {
    pub(super) fn new(log: Log, files: Arc<dyn Files>, index: Index, chores: Arc<Chores>) -> Self {
        let (index, handles) = (Mutex::new(index), Mutex::default());
        Self { log, files, index, handles, settling: Mutex::default(), chores }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the files below a floor.
    pub(super) fn close_below(&self, first: Offset) {
        self.handles().close_below(first);
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a stream's newest entry.
    pub(super) fn ask_last(&self, stream: &Stream) -> Ask {
        let (version, _) = self.index().tip(stream);
        let after = Version(version.0.saturating_sub(1));
        Ask::Stream { stream: stream.clone(), after, limit: 1 }
    }

    pub(super) fn tip(&self, stream: &Stream) -> Option<Tip> {
        let (version, hash) = self.index().tip(stream);
        (version > Version(0)).then_some(Tip { version, hash })
    }

    #[cfg(test)]
    pub(super) fn files_open(&self) -> usize {
        self.handles().open()
    }

    pub(super) async fn answer(self: &Arc<Self>, ask: Ask) -> Result<Vec<Entry>, LogError> {
        let Some(piece) = self.piece(&ask, READ_BYTES_MAX) else { return Ok(Vec::new()) };
        if piece.is_small(ask.limit()) {
            match self.read_piece(&ask, &piece) {
                Ok((entries, _)) => return Ok(entries),
                Err(Trouble::Failed(error)) => return Err(error),
                // To be settled where it holds up nobody.
                Err(Trouble::Doubt { .. } | Trouble::Missing) => {}
            }
        }
        let reader = Arc::clone(self);
        task::spawn_blocking(move || reader.gather(ask))
            .await
            .unwrap_or_else(|error| Err(unavailable("the reader", &error.into())))
    }

    fn piece(&self, ask: &Ask, bytes_max: u64) -> Option<Piece> {
        let index = self.index();
        match ask {
            Ask::Log { after, limit } => index.stretch(*after, *limit, bytes_max),
            Ask::Stream { stream, after, limit } => {
                index.stream_piece(stream, *after, *limit, bytes_max)
            }
        }
    }

    fn gather(&self, ask: Ask) -> Result<Vec<Entry>, LogError> {
        self.gather_by(ask, |ask, piece| {
            let (entries, bytes) = self.read_piece(ask, piece)?;
            ask.go_on(&entries);
            Ok((entries, bytes))
        })
    }

    /// Reads neighbours as they are stored.
    pub(super) async fn stored(
        self: &Arc<Self>,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Stored>, LogError> {
        let reader = Arc::clone(self);
        task::spawn_blocking(move || reader.gather_stored(Ask::Log { after, limit }))
            .await
            .unwrap_or_else(|error| Err(unavailable("the reader", &error.into())))
    }

    fn gather_stored(&self, ask: Ask) -> Result<Vec<Stored>, LogError> {
        self.gather_by(ask, |ask, piece| {
            let frames = self.frames(piece)?;
            let Wanted::Stretch(stretch) = &piece.entries else { return Ok((Vec::new(), 0)) };
            let (entries, bytes) = frames.stretch(stretch, |offset, byte, frame| {
                let content = frames.content(offset, byte, frame)?;
                Ok(Stored { offset, content, body: frame.body.to_vec() })
            })?;
            if let (Ask::Log { after, limit }, Some(newest)) = (ask, entries.last()) {
                (*after, *limit) = (newest.offset, *limit - entries.len());
            }
            Ok((entries, bytes))
        })
    }

    /// Reads piece after piece, from one segment into the next. What reads one moves on what is
    /// asked for.
    fn gather_by<T>(
        &self,
        mut ask: Ask,
        read: impl Fn(&mut Ask, &Piece) -> Result<Read<T>, Trouble>,
    ) -> Result<Vec<T>, LogError> {
        let (mut all, mut bytes, mut doubted) = (Vec::new(), 0, None);
        while let Some(piece) = self.piece(&ask, READ_BYTES_MAX - bytes) {
            match read(&mut ask, &piece) {
                Ok((entries, read)) => {
                    (bytes, doubted) = (bytes + read, None);
                    if all.is_empty() {
                        all = entries;
                    } else {
                        all.extend(entries);
                    }
                    // What little one more piece may add is not worth a read of its own.
                    if bytes > READ_BYTES_MAX / 2 {
                        break;
                    }
                }
                Err(Trouble::Failed(error)) => return Err(error),
                Err(trouble) => {
                    let again = doubted.replace(piece.segment) == Some(piece.segment);
                    self.settle(&piece, trouble, again)?;
                }
            }
        }
        Ok(all)
    }

    fn read_piece(&self, ask: &Ask, piece: &Piece) -> Result<Read, Trouble> {
        let frames = self.frames(piece)?;
        match (&piece.entries, ask) {
            (Wanted::Stretch(stretch), _) => {
                frames.stretch(stretch, |offset, byte, frame| frames.entry(offset, byte, frame))
            }
            (Wanted::Stream { first, postings }, Ask::Stream { stream, .. }) => {
                frames.stream(stream, *first, &self.postings(piece, postings)?)
            }
            (Wanted::Stream { .. }, Ask::Log { .. }) => Ok((Vec::new(), 0)),
        }
    }

    fn frames(&self, piece: &Piece) -> Result<Frames, Trouble> {
        let (file, length) = match &piece.source {
            Source::Open { file, end } => (Arc::clone(file), *end),
            Source::Sealed(sealed) => {
                let file = self.handles().get(&*self.files, sealed.first);
                (file.map_err(|error| piece.trouble(&error))?, sealed.length)
            }
        };
        Ok(Frames { log: self.log, segment: piece.segment, file, length })
    }

    fn postings(&self, piece: &Piece, postings: &Postings) -> Result<Vec<Posting>, Trouble> {
        match postings {
            Postings::Known { postings, .. } => Ok(postings.clone()),
            Postings::Filed { postings_at, place, entries } => {
                let read = || {
                    let file = self.files.open(&sealed::name(piece.segment))?;
                    sealed::read_postings_at(&*file, *postings_at, *place, *entries)
                };
                read().map_err(|error| piece.trouble(&error))
            }
            Postings::Forgotten => Err(Trouble::Missing),
        }
    }

    /// Finds out what is wrong with a segment that did not read: returns when its index was, and
    /// is not any more, or when the segment has been dropped meanwhile. `again`: that was so once
    /// already, and it still does not read.
    fn settle(&self, piece: &Piece, trouble: Trouble, again: bool) -> Result<(), LogError> {
        let name = segment::name(piece.segment);
        let doubt = match trouble {
            Trouble::Doubt { offset, reason } => LogError::Damaged { offset, reason },
            Trouble::Missing => {
                let reason = format!("{name}: the file is missing");
                LogError::Damaged { offset: piece.segment, reason }
            }
            Trouble::Failed(error) => return Err(error),
        };
        let Source::Sealed(doubted) = &piece.source else { return Err(doubt) };
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.index().sealed_at(piece.segment).map(Arc::clone);
        let Some(held) = held else { return Ok(()) };
        if !Arc::ptr_eq(&held, doubted) {
            return Ok(());
        }
        if again {
            return Err(doubt);
        }
        if let (Form::Forgotten, Some(form)) = (&held.form, self.filed(&held)) {
            self.index().replace(&held, form);
            return Ok(());
        }
        tracing::warn!(log = %self.log, segment = name, %doubt, "a segment is read whole");
        self.handles().close(piece.segment);
        let anew = match read_whole(&*self.files, self.log, &held) {
            Ok(anew) => anew,
            // Dropped in between, or gone against our will.
            Err(Whole::Missing) if self.index().sealed_at(held.first).is_none() => return Ok(()),
            Err(Whole::Missing) => return Err(doubt),
            Err(Whole::Failed(error)) => return Err(error),
        };
        self.index().replace_by(&Arc::new(anew));
        self.chores.want_filing();
        Ok(())
    }

    /// Returns where the postings of a segment are, if its index has been written meanwhile.
    fn filed(&self, held: &Sealed) -> Option<Form> {
        let file = self.files.open(&sealed::name(held.first)).ok()?;
        let front = sealed::read_front(&*file).ok()??;
        let is_its = front.is_of(self.log, held.first, held.length);
        is_its.then(|| Sealed::filed(held.first, held.length, front).0.form)
    }
}

/// Why a segment that was read whole is not there.
pub(super) enum Whole {
    Missing,
    Failed(LogError),
}

/// Reads a sealed segment whole and returns it with everything in memory; the error names the first
/// entry that does not hold.
pub(super) fn read_whole(files: &dyn Files, log: Log, held: &Sealed) -> Result<Sealed, Whole> {
    let name = segment::name(held.first);
    let (_, bytes) = match load(files, &name) {
        Ok(loaded) => loaded,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Whole::Missing),
        Err(error) => return Err(Whole::Failed(unavailable(&name, &error))),
    };
    let (contents, progress, read) = scan::segment(log, held.first, &bytes, &|_| None);
    let read = read.and_then(|()| {
        if (contents.entries(), progress.end as u64) == (held.entries, held.length) {
            return Ok(());
        }
        let (bytes, held) = (progress.end, held.length);
        let reason = format!("the segment has {bytes} bytes, and had {held}");
        Err(Fault::certain(progress.next, progress.end, reason))
    });
    read.map_err(|fault| Whole::Failed(fault.damaged(&name)))?;
    Ok(Sealed::held(contents, progress.end as u64))
}

/// Reads a whole file.
pub(super) fn load(files: &dyn Files, name: &str) -> io::Result<(Arc<dyn File>, Vec<u8>)> {
    let file = files.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok((file, bytes))
}

impl Ask {
    fn limit(&self) -> usize {
        match self {
            Self::Log { limit, .. } | Self::Stream { limit, .. } => *limit,
        }
    }

    /// Asks for what comes after these.
    fn go_on(&mut self, entries: &[Entry]) {
        let Some(newest) = entries.last() else { return };
        match self {
            Self::Log { after, limit } => {
                (*after, *limit) = (newest.offset, *limit - entries.len());
            }
            Self::Stream { after, limit, .. } => {
                (*after, *limit) = (newest.version, *limit - entries.len());
            }
        }
    }
}

impl Piece {
    /// Whether this is the whole answer, and quickly read.
    fn is_small(&self, limit: usize) -> bool {
        let is_whole =
            |entries: usize| entries == limit || matches!(self.source, Source::Open { .. });
        match &self.entries {
            Wanted::Stretch(Stretch { from, end, entries, .. }) => {
                end - u64::from(from.byte) <= READ_INLINE_BYTES_MAX && is_whole(*entries)
            }
            Wanted::Stream { postings: Postings::Known { postings, bytes }, .. } => {
                *bytes <= READ_INLINE_BYTES_MAX && is_whole(postings.len())
            }
            Wanted::Stream { postings: Postings::Filed { .. }, .. } => limit == 1,
            Wanted::Stream { postings: Postings::Forgotten, .. } => false,
        }
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        let name = segment::name(self.segment);
        match error.kind() {
            io::ErrorKind::NotFound => Trouble::Missing,
            io::ErrorKind::UnexpectedEof => {
                let reason = format!("{name}: its index ends early");
                Trouble::Doubt { offset: self.segment, reason }
            }
            _ => Trouble::Failed(unavailable(&name, error)),
        }
    }
}
