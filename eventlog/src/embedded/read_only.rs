//! A log opened beside the server that writes it: takes no lock, repairs nothing, writes nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::{task, time};

use crate::embedded::reader::{Ask, Reader};
use crate::embedded::scan::{self, Progress};
use crate::embedded::segment::{self, GroupHeader};
use crate::embedded::{floor, recovery, unavailable};
use crate::entry::{Entry, Hash, Offset, Version};
use crate::files::{File, Files};
use crate::header::Header;
use crate::log::{Durability, LogError, ReadLog, Tip};
use crate::stream::{Log, Stream};

/// How often one who waits looks for more.
const POLL: Duration = Duration::from_millis(100);

/// How often a fault is looked at before it is believed. A server that writes and drops at the same
/// time can make a fault of what is none; it does not make the same one twice.
const LOOKS_MAX: usize = 8;

/// Bytes that one step of a refresh takes in.
const STEP_BYTES_MAX: u64 = 8 << 20;

/// One log in one folder, for reading. It shows what was there when it was opened or refreshed. An
/// end that is not whole is simply the end: it is being written, or a crash has left it.
#[derive(Clone)]
pub struct ReadOnly {
    pub(super) reader: Arc<Reader>,
    /// Held by the one who refreshes.
    refreshing: Arc<Mutex<()>>,
}

impl ReadOnly {
    /// Blocks until the log is read: of sealed segments their index, the newest one whole.
    pub fn open(files: Arc<dyn Files>, log: Log) -> Result<Self, LogError> {
        let index = look(|| recovery::read(&*files, log))?;
        // Nobody does them here.
        let chores = Arc::default();
        let reader = Arc::new(Reader::new(log, files, index, chores));
        Ok(Self { reader, refreshing: Arc::default() })
    }

    /// Takes in what has come since.
    pub fn refresh(&self) -> Result<(), LogError> {
        let _refreshing = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let (files, log) = (&*self.reader.files, self.reader.log);
        look(|| {
            if self.is_overtaken()? {
                let index = look(|| recovery::read(files, log))?;
                self.reader.close_below(index.floor().first);
                *self.reader.index() = index;
            }
            self.follow()
        })
    }

    async fn refresh_aside(&self) -> Result<(), LogError> {
        let log = self.clone();
        task::spawn_blocking(move || log.refresh())
            .await
            .unwrap_or_else(|error| Err(unavailable("the reader", &error.into())))
    }

    async fn answer(&self, ask: Ask) -> Result<Vec<Entry>, LogError> {
        self.asked(|| self.reader.answer(ask.clone())).await
    }

    /// Reads; and again when what is missing has been dropped since the last refresh.
    pub(super) async fn asked<T, F: Future<Output = Result<T, LogError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, LogError> {
        for _ in 0..LOOKS_MAX {
            match ask().await {
                Err(LogError::Damaged { .. }) if self.is_overtaken()? => {
                    self.refresh_aside().await?;
                }
                done => return done,
            }
        }
        ask().await
    }

    /// Whether the server has dropped something since the last refresh, or taken over a stream whose
    /// first entries were dropped elsewhere.
    fn is_overtaken(&self) -> Result<bool, LogError> {
        let floor = floor::read(&*self.reader.files, self.reader.log)?;
        Ok(floor != *self.reader.index().floor())
    }

    /// Takes in group after group, and from the end of a segment the next one.
    fn follow(&self) -> Result<(), LogError> {
        loop {
            let open = self.reader.index().open();
            let is_at_the_end = match open {
                Some((end, file)) => !self.take_groups(end, &*file)?,
                None => true,
            };
            if is_at_the_end && !self.take_segment()? {
                return Ok(());
            }
        }
    }

    /// Takes in what the newest segment has more; returns whether it had.
    fn take_groups(&self, end: u64, file: &dyn File) -> Result<bool, LogError> {
        let name = segment::name(self.newest().unwrap_or_default());
        let failed = |error: &io::Error| unavailable(&name, error);
        let mut front = vec![0; segment::GROUP_HEADER_BYTES];
        let length = file.length().map_err(|error| failed(&error))?;
        let is_there = end + front.len() as u64 <= length;
        if !is_there
            || file.read_at(&mut front, end).is_err()
            || GroupHeader::read(&front).is_none()
        {
            return Ok(false);
        }
        let step = length.min(end + STEP_BYTES_MAX) - end;
        let mut bytes = vec![0; usize::try_from(step).unwrap_or_default()];
        file.read_at(&mut bytes, end).map_err(|error| failed(&error))?;
        // Nothing is shown before it is durable.
        file.sync_data().map_err(|error| failed(&error))?;

        let mut index = self.reader.index();
        let place = usize::try_from(end).unwrap_or(usize::MAX);
        let mut progress = Progress { next: index.next(), end: place, proven: place };
        let (mut entries, mut tips) = (Vec::new(), BTreeMap::new());
        let mut take = |header: Header, hash: Hash, byte: u32| {
            let tip = tips.get(&header.stream).copied();
            scan::check_follows(&header, tip.unwrap_or_else(|| index.tip(&header.stream)))?;
            tips.insert(header.stream.clone(), (header.version, hash));
            entries.push((header, hash, byte));
            Ok(())
        };
        let read = scan::groups(self.reader.log, &bytes, &mut progress, &mut take);
        let has_group_behind = || GroupHeader::is_in(bytes.get(1..).unwrap_or_default());
        match read {
            // The rest is not written yet, or did not fit into this step.
            Err(fault) if fault.torn && (progress.end > place || !has_group_behind()) => {}
            Err(fault) => return Err(fault.damaged(&name)),
            Ok(()) => {}
        }
        for (header, hash, byte) in entries {
            index.push_entry(header, hash, byte);
        }
        index.set_end(progress.end as u64);
        Ok(progress.end > place)
    }

    /// Goes on to the segment after the newest, if it has been begun; returns whether it has.
    fn take_segment(&self) -> Result<bool, LogError> {
        let (next, end) = {
            let index = self.reader.index();
            (index.next(), index.open().map_or(0, |(end, _)| end))
        };
        if Some(next) == self.newest() {
            return Ok(false);
        }
        let name = segment::name(next);
        let open = || -> io::Result<(Arc<dyn File>, Vec<u8>)> {
            let file = self.reader.files.open(&name)?;
            let mut header = vec![0; segment::HEADER_BYTES];
            file.read_at(&mut header, 0)?;
            Ok((file, header))
        };
        let (file, header) = match open() {
            Ok(opened) => opened,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Ok(false),
                    _ => Err(unavailable(&name, &error)),
                };
            }
        };
        match scan::check_header(self.reader.log, next, next, end, &header) {
            Ok(()) => {
                self.reader.index().push_open(file);
                Ok(true)
            }
            Err(fault) if fault.torn => Ok(false),
            Err(fault) => Err(fault.damaged(&name)),
        }
    }

    fn newest(&self) -> Option<Offset> {
        self.reader.index().open_first()
    }
}

/// Looks until there is no fault, or the same one twice.
fn look<T>(read: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
    let mut seen = None;
    for _ in 0..LOOKS_MAX {
        match read() {
            Err(error) if seen.as_ref() != Some(&error) => seen = Some(error),
            done => return done,
        }
    }
    Err(seen.unwrap_or_else(|| LogError::Unavailable("the log does not hold still".to_owned())))
}

#[async_trait]
impl ReadLog for ReadOnly {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.answer(Ask::Log { after, limit }).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.answer(Ask::Stream { stream: stream.clone(), after, limit }).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        Ok(self.answer(self.reader.ask_last(stream)).await?.pop())
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        Ok(self.reader.tip(stream))
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        Ok(self.reader.index().floor().offset())
    }

    async fn head(&self) -> Result<Offset, LogError> {
        Ok(self.reader.index().head())
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        while self.reader.index().head() <= after {
            time::sleep(POLL).await;
            self.refresh_aside().await?;
        }
        Ok(())
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }
}
