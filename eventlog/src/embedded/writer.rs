//! The one thread that writes: it takes what has queued up, writes it as one group, syncs once,
//! shows it to readers, and answers all.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::body::Sealed;
use crate::embedded::next::Begun;
use crate::embedded::segment::{self, GroupHeader, Header as SegmentHeader};
use crate::embedded::tail::{Failure, Tail};
use crate::embedded::{Options, Shared};
use crate::entry::Offset;
use crate::files::Files;
use crate::header::Header;

/// Entries of one group. What comes later waits for the next.
const GROUP_ENTRIES_MAX: usize = 1_024;

/// Bytes after which a group takes in no further entry.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An entry that asks for the place it was sealed for.
pub(super) struct Request {
    pub(super) header: Header,
    pub(super) sealed: Sealed,
    pub(super) answer: oneshot::Sender<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Written(Offset),
    /// Another entry took the place, and is durable now.
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
            let mut bytes = first.sealed.body.len();
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX
                && group.len() < GROUP_ENTRIES_MAX
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.sealed.body.len();
                group.push(next);
            }
            // Another thread may have found that the log must not go on.
            if self.shared.is_stopped() || self.commit(group).is_break() {
                return;
            }
        }
    }

    /// Makes one group durable and answers it; breaks when that failed, and has answered nobody.
    pub(super) fn commit(&mut self, requests: Vec<Request>) -> ControlFlow<()> {
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

    /// Parts those that follow their stream's tip from those that do not. Callers seal after what
    /// is durable, so of each stream only the first in a group can follow.
    fn fitting(&self, requests: Vec<Request>) -> (Vec<Request>, Vec<Request>) {
        let fits: Vec<bool> = {
            let index = self.shared.reader.index();
            let mut taken = BTreeSet::new();
            let fits = |request: &'_ Request| {
                let (version, hash) = index.tip(&request.header.stream);
                (version.next(), hash) == (request.header.version, request.header.prev_hash)
            };
            requests
                .iter()
                .map(|request| fits(request) && taken.insert(&request.header.stream))
                .collect()
        };
        let (mut group, mut moved) = (Vec::with_capacity(requests.len()), Vec::new());
        for (request, fits) in requests.into_iter().zip(fits) {
            if fits { group.push(request) } else { moved.push(request) }
        }
        (group, moved)
    }

    /// Sees to it that the group needs no more room on the disk; begins the next segment for a
    /// group with which this one would grow too long.
    fn make_room(&mut self, group: &[Request]) -> Result<(), Failure> {
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
    fn write(&mut self, group: &[Request]) -> Result<Vec<u32>, Failure> {
        let first = self.shared.reader.index().next();
        let bytes = frames_bytes(group);
        let header = GroupHeader {
            durable_before: self.tail.end,
            first,
            bytes: u32::try_from(bytes).expect("a group has few more than GROUP_BYTES_MAX bytes"),
            frames: u32::try_from(group.len()).expect("a group has at most GROUP_ENTRIES_MAX"),
        };
        let mut out = Vec::with_capacity(segment::GROUP_HEADER_BYTES + bytes);
        header.write(&mut out);
        let mut positions: Vec<u32> = Vec::with_capacity(group.len());
        for (offset, request) in (first.0..).map(Offset).zip(group) {
            let position = self.tail.end + out.len() as u64;
            positions.push(position.try_into().expect("a segment stays below SEGMENT_BYTES_MAX"));
            let Sealed { content, body, .. } = &request.sealed;
            segment::write_frame(&mut out, offset, *content as u8, body);
        }
        self.tail.file.write_at(&out, self.tail.end).map_err(Failure::Broken)?;
        self.tail.file.sync_data().map_err(Failure::Broken)?;
        self.tail.end += out.len() as u64;
        Ok(positions)
    }

    /// Shows a durable group to readers and answers it. A reader must never act on an entry that
    /// a crash can still take back.
    fn publish(&self, group: Vec<Request>, positions: Vec<u32>) {
        let mut answers = Vec::with_capacity(group.len());
        let mut index = self.shared.reader.index();
        index.set_end(self.tail.end);
        for (Request { header, sealed, answer }, position) in group.into_iter().zip(positions) {
            answers.push((answer, index.next()));
            index.push_entry(header, sealed.hash, position);
        }
        // Before anybody can read them: the head is never behind what was read.
        self.shared.head.send_replace(index.head());
        drop(index);
        for (answer, offset) in answers {
            tell(answer, Answer::Written(offset));
        }
    }
}

fn frames_bytes(group: &[Request]) -> usize {
    group.iter().map(|request| segment::frame_bytes(request.sealed.body.len())).sum()
}

fn tell(caller: oneshot::Sender<Answer>, answer: Answer) {
    // A caller that has gone finds its entry by its append id.
    let (Ok(()) | Err(_)) = caller.send(answer);
}
