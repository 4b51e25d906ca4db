//! The one thread that writes: it takes what has queued up, writes it as one group, syncs once,
//! shows it to readers, and answers all.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::body::Sealed;
use crate::embedded::contents::Tip;
use crate::embedded::index::Index;
use crate::embedded::next::Begun;
use crate::embedded::segment::{self, GroupHeader, Header as SegmentHeader};
use crate::embedded::tail::{Failure, Tail};
use crate::embedded::{Options, Shared};
use crate::entry::{Hash, Offset, Version};
use crate::files::Files;
use crate::header::Header;
use crate::log::LogError;
use crate::stream::Stream;

/// Entries of one group. What comes later waits for the next.
const GROUP_ENTRIES_MAX: usize = 1_024;

/// Bytes after which a group takes in no further entry.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the writer is asked for.
pub(super) enum Request {
    Put(Put),
    /// To have streams begun after entries that this log has never held.
    Begin {
        tips: BTreeMap<Stream, Tip>,
        answer: oneshot::Sender<Result<(), LogError>>,
    },
}

/// An entry, and the place it was sealed for.
pub(super) type Placed = (Header, Sealed);

/// Entries that ask for the places they were sealed for: all of them are put in, or none.
pub(super) struct Put {
    pub(super) entries: Vec<Placed>,
    pub(super) answer: oneshot::Sender<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The first stands here, and those after it behind it.
    Written(Offset),
    /// Another entry took a place, and is durable now.
    Moved,
    /// The disk is full; nothing was written.
    Full,
}

pub(super) struct Writer {
    pub(super) files: Arc<dyn Files>,
    pub(super) shared: Arc<Shared>,
    pub(super) tail: Tail,
    pub(super) options: Options,
    /// Whether the next segment has been asked for.
    pub(super) wants_next: bool,
}

impl Writer {
    /// Writes until nobody can ask any more, or until an error. After a failed write or sync the
    /// page cache proves nothing, so there is no second try: this ends, whoever waits learns that
    /// the outcome is unknown, and a start reads what the disk really holds.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            let (mut next, mut group) = (Some(first), Vec::new());
            let (mut entries, mut bytes) = (0, 0);
            while let Some(request) = next {
                match request {
                    Request::Put(put) => {
                        entries += put.entries.len();
                        bytes += put.entries.iter().map(|(_, one)| one.body.len()).sum::<usize>();
                        group.push(put);
                    }
                    Request::Begin { tips, answer } => tell(answer, self.shared.begin(tips)),
                }
                let has_room = bytes < GROUP_BYTES_MAX && entries < GROUP_ENTRIES_MAX;
                next = if has_room { queue.try_recv().ok() } else { None };
            }
            // Another thread may have found that the log must not go on.
            if self.shared.is_stopped() || self.commit(group).is_break() {
                return;
            }
        }
    }

    /// Makes one group durable and answers it; breaks when that failed, and has answered nobody.
    pub(super) fn commit(&mut self, requests: Vec<Put>) -> ControlFlow<()> {
        let (group, moved) = self.fitting(requests);
        if !group.is_empty() {
            match self.make_room(&group).and_then(|()| self.write(&group)) {
                Ok(positions) => self.publish(group, positions),
                Err(Failure::Full) => {
                    for request in group.into_iter().chain(moved) {
                        tell(request.answer, Answer::Full);
                    }
                    return ControlFlow::Continue(());
                }
                Err(Failure::Broken(error)) => {
                    // Before those that wait learn of it, so that nobody queues up behind them.
                    self.shared.stop(&error);
                    return ControlFlow::Break(());
                }
            }
        }
        // Only now: a conflict with an entry that a crash can still take back would be a lie.
        for request in moved {
            tell(request.answer, Answer::Moved);
        }
        ControlFlow::Continue(())
    }

    /// Parts those that follow their stream's tip from those that do not. Whoever appends seals after
    /// what is durable, so of each stream only the first of them in a group can follow; of entries
    /// that are put in together, each can follow the one before.
    fn fitting(&self, requests: Vec<Put>) -> (Vec<Put>, Vec<Put>) {
        let fits: Vec<bool> = {
            let index = self.shared.reader.index();
            let mut taken = BTreeMap::new();
            requests.iter().map(|request| fits(request, &index, &mut taken)).collect()
        };
        let (mut group, mut moved) = (Vec::with_capacity(requests.len()), Vec::new());
        for (request, fits) in requests.into_iter().zip(fits) {
            if fits { group.push(request) } else { moved.push(request) }
        }
        (group, moved)
    }

    /// Sees to it that the group needs no more room on the disk; begins the next segment for a
    /// group with which this one would grow too long.
    fn make_room(&mut self, group: &[Put]) -> Result<(), Failure> {
        let bytes = (segment::GROUP_HEADER_BYTES + frames_bytes(group)) as u64;
        let is_empty = self.tail.end == segment::HEADER_BYTES as u64;
        let fits = is_empty || self.tail.end + bytes < self.options.segment_bytes;
        if self.tail.is_full || !fits {
            self.roll(self.shared.next.take())?;
        }
        match self.tail.prepare(bytes, &self.options) {
            // The zeros of the next segment, if there are any, are space that entries need now.
            Err(Failure::Full) if self.tail.end > segment::HEADER_BYTES as u64 => {
                let begun = self.shared.next.wait_and_take();
                let begun = begun.ok_or(Failure::Full)?;
                self.roll(Some(begun))?;
                self.tail.prepare(bytes, &self.options)
            }
            done => done,
        }?;
        if !self.wants_next && self.tail.end + bytes > self.options.segment_bytes / 2 {
            self.wants_next = true;
            self.shared.chores.want_next();
        }
        Ok(())
    }

    fn roll(&mut self, begun: Option<Begun>) -> Result<(), Failure> {
        // Whatever comes of it: where a next segment may have been begun, none goes in here.
        self.tail.is_full = true;
        let (log, first) = (self.shared.log, self.shared.reader.index().next());
        let next = match begun {
            Some(begun) => {
                let header = SegmentHeader::new(log, first, self.tail.end);
                let adopted = Tail::adopt(&*self.files, begun, header);
                self.shared.next.release();
                adopted?
            }
            None => Tail::create(&*self.files, log, first, self.tail.end, &self.options)?,
        };
        self.shared.reader.index().push_open(Arc::clone(&next.file));
        self.wants_next = false;
        let full = std::mem::replace(&mut self.tail, next);
        // Not before the next one is durable: a last segment without zeros has lost its end.
        full.file.set_length(full.end).map_err(Failure::Broken)?;
        full.file.sync_data().map_err(Failure::Broken)?;
        self.shared.chores.want_filing();
        Ok(())
    }

    /// Writes and syncs the group; returns where each entry's frame begins.
    fn write(&mut self, group: &[Put]) -> Result<Vec<u32>, Failure> {
        let first = self.shared.reader.index().next();
        let bytes = frames_bytes(group);
        let header = GroupHeader {
            durable_before: self.tail.end,
            first,
            bytes: u32::try_from(bytes).expect("a group has few more than GROUP_BYTES_MAX bytes"),
            frames: u32::try_from(entries(group).count())
                .expect("a group has few more than GROUP_ENTRIES_MAX entries"),
        };
        let mut out = Vec::with_capacity(segment::GROUP_HEADER_BYTES + bytes);
        header.write(&mut out);
        let mut positions: Vec<u32> = Vec::with_capacity(group.len());
        for (offset, (_, sealed)) in (first.0..).map(Offset).zip(entries(group)) {
            let position = self.tail.end + out.len() as u64;
            positions.push(position.try_into().expect("a segment stays below SEGMENT_BYTES_MAX"));
            let Sealed { content, body, .. } = sealed;
            segment::write_frame(&mut out, offset, *content as u8, body);
        }
        self.tail.file.write_at(&out, self.tail.end).map_err(Failure::Broken)?;
        self.tail.file.sync_data().map_err(Failure::Broken)?;
        self.tail.end += out.len() as u64;
        Ok(positions)
    }

    /// Shows a durable group to readers and answers it. A reader must never act on an entry that
    /// a crash can still take back.
    fn publish(&self, group: Vec<Put>, positions: Vec<u32>) {
        let mut answers = Vec::with_capacity(group.len());
        let mut index = self.shared.reader.index();
        index.set_end(self.tail.end);
        let mut positions = positions.into_iter();
        for Put { entries, answer } in group {
            answers.push((answer, index.next()));
            for ((header, sealed), position) in entries.into_iter().zip(&mut positions) {
                index.push_entry(header, sealed.hash, position);
            }
        }
        // Before anybody can read them: the head is never behind what was read.
        self.shared.head.send_replace(index.head());
        drop(index);
        for (answer, offset) in answers {
            tell(answer, Answer::Written(offset));
        }
    }
}

/// Whether all entries of a request follow: what is durable, what was taken into the group, or each
/// other. If so, they are taken in too.
fn fits<'a>(
    request: &'a Put,
    index: &Index,
    taken: &mut BTreeMap<&'a Stream, (Version, Hash)>,
) -> bool {
    let mut own = BTreeMap::new();
    for (header, sealed) in &request.entries {
        let tip = own.get(&header.stream).or_else(|| taken.get(&header.stream)).copied();
        let (version, hash) = tip.unwrap_or_else(|| index.tip(&header.stream));
        if (version.next(), hash) != (header.version, header.prev_hash) {
            return false;
        }
        own.insert(&header.stream, (header.version, sealed.hash));
    }
    taken.append(&mut own);
    true
}

fn entries(group: &[Put]) -> impl Iterator<Item = &Placed> {
    group.iter().flat_map(|request| &request.entries)
}

fn frames_bytes(group: &[Put]) -> usize {
    entries(group).map(|(_, sealed)| segment::frame_bytes(sealed.body.len())).sum()
}

fn tell<T>(caller: oneshot::Sender<T>, answer: T) {
    // A caller that has gone finds its entry by its append id.
    let (Ok(()) | Err(_)) = caller.send(answer);
}
