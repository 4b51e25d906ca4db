//! A copy opens as a log that was stopped in order, holds what was durable, and is taken from a log
//! that is in use.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use domain::time::Timestamp;

use super::damage::sample;
use super::*;
use crate::embedded::copy::{self, Copied, CopiedFile};
use crate::embedded::verify;
use crate::files::File;
use crate::log::{Retention, Trim};

/// Copies a log in memory; returns the copy as it is on the disk.
fn copied(bytes: &Bytes) -> (Copied, Bytes) {
    let (from, to) = (Ram::of(bytes), Ram::of(&Bytes::new()));
    let copied = copy::copy(&*from, &*to, Log::Market).unwrap();
    assert_eq!(from.bytes(), *bytes, "a copy leaves its original as it was");
    assert_eq!(to.synced(), to.bytes());
    (copied, to.synced())
}

/// Returns the same log with all its indexes.
fn filed(bytes: &Bytes) -> Bytes {
    let ram = Ram::of(bytes);
    drop(open(ram.clone()).unwrap());
    ram.bytes()
}

fn sha256(name: &str, bytes: &[u8]) -> CopiedFile {
    CopiedFile { name: name.to_owned(), bytes: bytes.len() as u64, sha256: Hash::of(bytes) }
}

#[tokio::test]
async fn a_copy_holds_the_same_bytes_and_goes_on() {
    let (bytes, _) = sample();
    let entries = read_all(&open(Ram::of(&bytes)).unwrap().0).await;

    let (told, copy) = copied(&bytes);

    let hash = entries.last().map(|entry| entry.hash);
    assert_eq!((told.first, told.head, told.head_hash), (Offset(1), Offset(150), hash));
    assert_eq!(told.cut, None);
    let listed = told.files.iter().map(|file| (file.name.clone(), file.clone()));
    let held = copy.iter().map(|(name, bytes)| (name.clone(), sha256(name, bytes)));
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), held.collect());
    let whole = filed(&bytes);
    let newest = copy.keys().rfind(|name| segment::first_of(name).is_some()).unwrap();
    for (name, copied) in copy.iter().filter(|(name, _)| *name != newest) {
        assert_eq!(copied, &whole[name], "{name}");
    }
    assert!(whole[newest].starts_with(&copy[newest]));
    assert!(copy.keys().filter(|name| sealed::first_of(name).is_some()).count() >= 3);
    assert_eq!(copied(&copy).1, copy, "a copy of a copy is the same");

    let (log, report) = open(Ram::of(&copy)).unwrap();
    assert_eq!(report, Opened { entries: 150, cut: None });
    assert_eq!(read_all(&log).await, entries);
    next(&log, 9_000).await.unwrap();
}

#[tokio::test]
async fn an_end_that_is_not_whole_is_left_out_and_told() {
    let (bytes, pieces) = sample();
    let last = pieces.last().unwrap();
    let own = pieces.iter().filter(|piece| piece.segment == last.segment);
    for length in own.flat_map(|piece| [piece.start, piece.start + 1, piece.end - 1]) {
        let mut early = bytes.clone();
        early.get_mut(&last.segment).unwrap().truncate(length);
        let report = open(Ram::of(&early)).unwrap().1;

        let (told, copy) = copied(&early);

        assert_eq!((told.head.0, told.cut), (report.entries, report.cut), "length {length}");
        let opened = open(Ram::of(&copy)).unwrap().1;
        assert_eq!(opened, Opened { entries: report.entries, cut: None }, "length {length}");
    }
}

#[tokio::test]
async fn a_log_without_a_segment_is_copied_as_an_empty_one() {
    let (told, copy) = copied(&Bytes::new());

    assert_eq!((told.first, told.head, told.head_hash), (Offset(1), Offset(0), None));
    assert_eq!(open(Ram::of(&copy)).unwrap().1, Opened { entries: 0, cut: None });
}

#[test]
fn what_is_damaged_is_not_copied() {
    let (bytes, pieces) = sample();
    for piece in pieces.iter().filter(|piece| piece.is_entry).step_by(10) {
        let mut changed = bytes.clone();
        changed.get_mut(&piece.segment).unwrap()[piece.end - 1] ^= 1;
        if piece.group == pieces.last().unwrap().group {
            continue;
        }
        let to = Ram::of(&Bytes::new());

        let copied = copy::copy(&*Ram::of(&changed), &*to, Log::Market);

        let offset = piece.offset;
        assert!(
            matches!(copied, Err(LogError::Damaged { offset: named, .. }) if named == offset),
            "{offset}: {copied:?}"
        );
    }
}

#[test]
fn nothing_is_copied_that_a_power_cut_could_take_back() {
    let (bytes, pieces) = sample();
    let last = pieces.last().unwrap();
    let start = pieces.iter().find(|piece| piece.group == last.group).unwrap().start;
    let group = bytes[&last.segment][start..last.end].to_vec();
    let mut before = bytes.clone();
    before.get_mut(&last.segment).unwrap()[start..].fill(0);
    let from = Ram::of(&before);
    // Written, and its sync still under way.
    from.open(&last.segment).unwrap().write_at(&group, start as u64).unwrap();
    assert_eq!(from.synced(), before);

    let to = Ram::of(&Bytes::new());
    let copied = copy::copy(&*from, &*to, Log::Market).unwrap();

    let survived = open(Ram::of(&from.synced())).unwrap().1;
    assert_eq!((copied.head, survived.entries), (Offset(150), 150));

    from.fail(Some(Which::Sync), io::ErrorKind::Other);
    let to = Ram::of(&Bytes::new());
    let failed = copy::copy(&*from, &*to, Log::Market);
    assert!(matches!(failed, Err(LogError::Unavailable(_))), "{failed:?}");
}

#[test]
fn a_copy_that_cannot_be_written_says_which_file() {
    let (bytes, _) = sample();
    for (which, kind) in [
        (Which::Name, io::ErrorKind::PermissionDenied),
        (Which::Growth, io::ErrorKind::StorageFull),
        (Which::Sync, io::ErrorKind::Other),
    ] {
        let to = Ram::of(&Bytes::new());
        to.fail(Some(which), kind);

        let failed = copy::copy(&*Ram::of(&bytes), &*to, Log::Market);

        let said = failed.unwrap_err().to_string();
        assert!(said.contains("the copy of 00000000000000000001.log cannot be written"), "{said}");
    }
}

/// A log that is trimmed when its files have been opened so often.
struct TrimmedAfter {
    opens: AtomicUsize,
    at: usize,
    before: Arc<Ram>,
    after: Arc<Ram>,
}

impl TrimmedAfter {
    fn now(&self) -> &Ram {
        if self.opens.load(Ordering::Relaxed) < self.at { &self.before } else { &self.after }
    }
}

impl Files for TrimmedAfter {
    fn list(&self) -> io::Result<Vec<String>> {
        self.now().list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.now().create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let opened = self.now().open(name);
        self.opens.fetch_add(1, Ordering::Relaxed);
        opened
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.now().rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.now().remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.now().sync()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        self.now().lock(name)
    }
}

#[tokio::test]
async fn a_log_that_is_trimmed_meanwhile_is_copied_whole() {
    let (bytes, _) = sample();
    let bytes = filed(&bytes);
    let ram = Ram::of(&bytes);
    let (log, _) = open(ram.clone()).unwrap();
    let all = read_all(&log).await;
    let up_to = Offset(100);
    let retention = Retention { recorded_before: Timestamp::MIN, bytes_max: 0, up_to };
    let floor = log.trim(retention).await.unwrap().floor;
    assert!(floor > Offset(10), "{floor}");
    drop(log);
    let trimmed = ram.bytes();
    let (mut from_before, mut from_after) = (0, 0);
    for at in 0.. {
        let (before, after) = (Ram::of(&bytes), Ram::of(&trimmed));
        let from = TrimmedAfter { opens: AtomicUsize::new(0), at, before, after };
        let to = Ram::of(&Bytes::new());

        let copied = copy::copy(&from, &*to, Log::Market).unwrap();

        let (log, report) = open(Ram::of(&to.synced())).unwrap();
        let held = usize::try_from(copied.first.0).unwrap() - 1;
        assert_eq!(read_all(&log).await, all[held..], "trimmed at {at}");
        assert_eq!((report.entries, report.cut), ((all.len() - held) as u64, None));
        for entry in &all {
            // Also of streams whose entries have gone.
            let tip = log.tip(&entry.stream).await.unwrap().unwrap();
            let newest = all.iter().rfind(|other| other.stream == entry.stream).unwrap();
            assert_eq!((tip.version, tip.hash), (newest.version, newest.hash));
        }
        let verified = verify::verify(&*Ram::of(&to.bytes()), Log::Market).unwrap();
        assert_eq!((verified.first, verified.head), (copied.first, copied.head));
        assert_eq!(copy::first(&*to, Log::Market), Ok(copied.first));
        match copied.first.0 - 1 {
            0 => from_before += 1,
            offset => {
                assert_eq!(Offset(offset), floor);
                from_after += 1;
            }
        }
        if from.opens.load(Ordering::Relaxed) < at {
            break;
        }
    }
    assert!(from_before > 1 && from_after > 1, "{from_before} and {from_after}");
}

/// Copies again and again while appends go on and segments are begun; each copy is a whole log that
/// begins as the original and holds all that was acknowledged before it was begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_use_is_copied_whole() {
    const COPIES: u128 = 20;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("market");
    let log = Arc::new(open(Arc::new(Disk::open(&source).unwrap())).unwrap().0);
    let (mut told, mut in_the_middle) = (Vec::new(), 0);
    for round in 0..COPIES {
        let is_over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (log, is_over) = (log.clone(), is_over.clone());
                tokio::spawn(async move {
                    for id in (0..40).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                        let ticks = ticks(round, 1 + id % 9);
                        let draft = draft(&stream(writer), round * 80 + writer * 40 + id, ticks);
                        log.append(draft, Expected::Any).await.unwrap();
                    }
                })
            })
            .collect();
        let acknowledged = log.head().await.unwrap();
        let (from, to) = (source.clone(), folder.path().join(round.to_string()));
        let copied = tokio::task::spawn_blocking(move || {
            let to = Disk::open(&to).unwrap();
            copy::copy(&Disk::existing(from).unwrap(), &to, Log::Market).unwrap()
        });
        let copied = copied.await.unwrap();
        assert!(copied.head >= acknowledged, "{copied:?} and {acknowledged}");
        let before = log.head().await.unwrap();
        is_over.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
        in_the_middle += usize::from(log.head().await.unwrap() > before);
        told.push(copied);
    }
    let all = read_all(&log).await;
    drop(log);
    let last = told.last().unwrap();
    let is_segment = |file: &&CopiedFile| segment::first_of(&file.name).is_some();
    assert!(last.files.iter().filter(is_segment).count() >= 5, "{last:?}");
    assert!(in_the_middle > 0, "no copy was over before the appends were");
    for (place, copied) in told.iter().enumerate() {
        let files = Disk::open(folder.path().join(place.to_string())).unwrap();
        let verified = verify::verify(&files, Log::Market).unwrap();
        assert_eq!((verified.head, verified.cut), (copied.head, None));
        let (copy, report) = open(Arc::new(files)).unwrap();
        assert_eq!(report, Opened { entries: copied.head.0, cut: None });
        let head = usize::try_from(copied.head.0).unwrap();
        assert_eq!(read_all(&copy).await, all[..head], "copy {place}");
        assert_eq!(all[..head].last().map(|entry| entry.hash), copied.head_hash);
    }
}
