//! Whatever is changed in what was durable is found, and named; the torn end of a crash is cut.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::embedded::segment::{self, GroupHeader};

pub(super) const PLACES: u64 = 200;

/// A piece of a segment: its header, a group header, or an entry.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) segment: String,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The first entry that cannot be trusted without it.
    pub(super) offset: Offset,
    pub(super) is_entry: bool,
    pub(super) group: usize,
}

/// A log of several segments with groups of one to four entries; its pieces in order.
pub(super) fn sample() -> (Bytes, Vec<Piece>) {
    let (bytes, pieces) = sample_of(60);
    assert!(bytes.len() >= 4, "{} segments", bytes.len());
    assert_eq!(pieces.iter().filter(|piece| piece.is_entry).count(), 150);
    (bytes, pieces)
}

fn sample_of(groups: u128) -> (Bytes, Vec<Piece>) {
    let ram = Ram::of(&Bytes::new());
    write(&ram, small(), &groups_of(groups));
    let bytes = ram.bytes();
    let pieces = pieces(&bytes);
    (bytes, pieces)
}

/// Groups of one to four entries, of ticks and others.
pub(super) fn groups_of(groups: u128) -> Vec<Vec<Draft>> {
    (0..groups)
        .map(|group| {
            let one = |place| {
                let id = group * 10 + place;
                let mut draft = draft(&stream(place), id, ticks(id, 1 + id % 5));
                if id % 3 == 0 {
                    // So that it is written as JSON.
                    let gap = domain::market::event::MarketEvent::FeedGapFilled {
                        first_id: 1,
                        last_id: 2,
                    };
                    draft.events.push(gap.into());
                }
                draft
            };
            (0..=group % 4).map(one).collect()
        })
        .collect()
}

pub(super) fn pieces(bytes: &Bytes) -> Vec<Piece> {
    let first = bytes.keys().find_map(|name| segment::first_of(name)).unwrap();
    let (mut pieces, mut group, mut offset) = (Vec::new(), 0, first);
    for (segment, bytes) in bytes {
        let mut start = 0;
        let mut push = |end: usize, offset, is_entry, group| {
            let segment = segment.clone();
            pieces.push(Piece { segment, start, end, offset, is_entry, group });
            start = end;
        };
        let mut at = segment::HEADER_BYTES;
        push(at, offset, false, group);
        while let Some(header) = GroupHeader::read(&bytes[at..]) {
            at += segment::GROUP_HEADER_BYTES;
            push(at, offset, false, group);
            for _ in 0..header.frames {
                let (frame, _) = segment::read_frame(&bytes[at..], offset).unwrap();
                at += segment::frame_bytes(frame.body.len());
                push(at, offset, true, group);
                offset = Offset(offset.0 + 1);
            }
            group += 1;
        }
    }
    pieces
}

/// The pieces before the last group.
pub(super) fn proven(pieces: &[Piece]) -> Vec<Piece> {
    let last = pieces.last().unwrap().group;
    pieces.iter().filter(|piece| piece.group < last).cloned().collect()
}

/// Opens what was made of the sample and checks that the damage is named.
#[track_caller]
fn assert_damaged(bytes: &Bytes, offset: Offset, context: &str) {
    match open(Ram::of(bytes)) {
        Err(LogError::Damaged { offset: named, reason }) => {
            assert_eq!(named, offset, "{context}: {reason}");
            assert!(reason.contains(".log, byte "), "{context}: {reason}");
        }
        Err(error) => panic!("{context}: {error}"),
        Ok((_, report)) => panic!("{context}: it opened with {report:?}"),
    }
}

/// Does something random to the sample at [`PLACES`] places before the last group; `change` returns
/// the first offset that cannot be trusted any more.
fn everywhere(change: impl Fn(&mut ChaCha8Rng, &mut Bytes, &[Piece]) -> Offset) {
    let (bytes, pieces) = sample();
    let proven = proven(&pieces);
    for seed in 0..PLACES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut changed = bytes.clone();
        let offset = change(&mut random, &mut changed, &proven);
        assert_ne!(changed, bytes);
        assert_damaged(&changed, offset, &format!("seed {seed}"));
    }
}

fn any<'a>(random: &mut ChaCha8Rng, pieces: &'a [Piece]) -> &'a Piece {
    &pieces[random.random_range(0..pieces.len())]
}

pub(super) fn any_byte(random: &mut ChaCha8Rng, pieces: &[Piece]) -> (Piece, usize) {
    let piece = any(random, pieces);
    (piece.clone(), random.random_range(piece.start..piece.end))
}

#[test]
fn an_undamaged_log_opens() {
    let (bytes, _) = sample();

    let (_, report) = open(Ram::of(&bytes)).unwrap();

    assert_eq!(report, Opened { entries: 150, cut: None });
}

#[test]
fn a_changed_byte_is_found() {
    everywhere(|random, bytes, pieces| {
        let (piece, byte) = any_byte(random, pieces);
        bytes.get_mut(&piece.segment).unwrap()[byte] ^= random.random_range(1..=255u8);
        piece.offset
    });
}

#[test]
fn bytes_cut_out_of_the_middle_are_found() {
    everywhere(|random, bytes, pieces| {
        let (piece, byte) = any_byte(random, pieces);
        let end = pieces.iter().rfind(|other| other.segment == piece.segment).unwrap().end;
        let length = random.random_range(1..=(end - byte).min(600));
        bytes.get_mut(&piece.segment).unwrap().drain(byte..byte + length);
        piece.offset
    });
}

#[test]
fn a_removed_frame_is_found() {
    everywhere(|random, bytes, pieces| {
        let piece = any(random, pieces);
        bytes.get_mut(&piece.segment).unwrap().drain(piece.start..piece.end);
        piece.offset
    });
}

#[test]
fn a_doubled_frame_is_found() {
    everywhere(|random, bytes, pieces| {
        let piece = any(random, pieces);
        let bytes = bytes.get_mut(&piece.segment).unwrap();
        let copy = bytes[piece.start..piece.end].to_vec();
        bytes.splice(piece.end..piece.end, copy);
        Offset(piece.offset.0 + u64::from(piece.is_entry))
    });
}

#[test]
fn swapped_frames_are_found() {
    everywhere(|random, bytes, pieces| {
        let (one, other) = loop {
            let (one, other) = (any(random, pieces), any(random, pieces));
            if one.segment == other.segment && one.start < other.start {
                break (one, other);
            }
        };
        let bytes = bytes.get_mut(&one.segment).unwrap();
        let swapped = [
            &bytes[other.start..other.end],
            &bytes[one.end..other.start],
            &bytes[one.start..one.end],
        ]
        .concat();
        bytes.splice(one.start..other.end, swapped);
        one.offset
    });
}

#[test]
fn a_doubled_or_removed_group_is_found() {
    everywhere(|random, bytes, pieces| {
        let entry = any(random, pieces);
        let group: Vec<_> = pieces
            .iter()
            .filter(|piece| piece.group == entry.group && piece.start >= segment::HEADER_BYTES)
            .collect();
        let (first, last) = (group[0], group[group.len() - 1]);
        let bytes = bytes.get_mut(&first.segment).unwrap();
        if random.random_bool(0.5) {
            bytes.drain(first.start..last.end);
            first.offset
        } else {
            let copy = bytes[first.start..last.end].to_vec();
            bytes.splice(last.end..last.end, copy);
            Offset(last.offset.0 + 1)
        }
    });
}

#[test]
fn segments_that_are_missing_or_exchanged_or_end_early_or_late_are_found() {
    let (bytes, pieces) = sample();
    let names: Vec<_> = bytes.keys().cloned().collect();
    let first = |name: &str| segment::first_of(name).unwrap();
    for pair in names.windows(2) {
        let (name, following) = (&pair[0], &pair[1]);

        let mut missing = bytes.clone();
        missing.remove(name);
        assert_damaged(&missing, first(name), "missing");

        let mut exchanged = bytes.clone();
        exchanged.insert(name.clone(), bytes[following].clone());
        exchanged.insert(following.clone(), bytes[name].clone());
        assert_damaged(&exchanged, first(name), "exchanged");

        let mut late = bytes.clone();
        late.get_mut(name).unwrap().extend([0, 0, 7]);
        assert_damaged(&late, first(following), "rubbish");

        for length in (0..bytes[name].len()).step_by(7) {
            let mut early = bytes.clone();
            early.get_mut(name).unwrap().truncate(length);
            let piece = |piece: &&Piece| piece.segment == *name && piece.end > length;
            assert_damaged(&early, pieces.iter().find(piece).unwrap().offset, "early");
        }
    }
}

/// Opens what is left, checks that the entries before the cut are there and that it goes on.
async fn assert_cut(bytes: &Bytes, entries: &[Entry], cut: Option<Cut>, context: &str) {
    let ram = Ram::of(bytes);
    let (log, report) = open(ram.clone()).unwrap();
    assert_eq!(report, Opened { entries: entries.len() as u64, cut }, "{context}");
    assert_eq!(read_all(&log).await, entries, "{context}");
    drop(log);

    // The repair is durable, and what follows too.
    let (log, report) = open(Ram::of(&ram.synced())).unwrap();
    assert_eq!(report, Opened { entries: entries.len() as u64, cut: None }, "{context}");
    let appended = log.append(draft(&stream(1), 5_000, ticks(1, 1)), Expected::Any).await.unwrap();
    assert_eq!(appended.offset.0, entries.len() as u64 + 1);
}

#[tokio::test]
async fn a_crash_at_any_byte_of_the_last_group_loses_nothing_before_it() {
    let (bytes, pieces) = sample_of(10);
    let entries = read_all(&open(Ram::of(&bytes)).unwrap().0).await;
    let last = pieces.last().unwrap();
    let group = pieces.iter().find(|piece| piece.group == last.group).unwrap();
    let kept = &entries[..usize::try_from(group.offset.0).unwrap() - 1];
    let cut = |bytes: usize| {
        let (segment, byte) = (group.segment.clone(), group.start as u64);
        Some(Cut { segment, byte, bytes: bytes as u64, offset: group.offset })
    };
    assert!(last.end - group.start > 100);
    for end in group.start..last.end {
        let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);

        let mut zeros_behind = bytes.clone();
        let segment = zeros_behind.get_mut(&group.segment).unwrap();
        segment[end..].fill(0);
        let left = used(segment) - group.start;
        let expected = cut(left).filter(|_| left > 0);
        assert_cut(&zeros_behind, kept, expected, &format!("zeros from byte {end}")).await;

        let mut nothing_behind = bytes.clone();
        nothing_behind.get_mut(&group.segment).unwrap().truncate(end);
        assert_cut(&nothing_behind, kept, cut(left), &format!("nothing from byte {end}")).await;

        let mut zeros_in_front = bytes.clone();
        let segment = zeros_in_front.get_mut(&group.segment).unwrap();
        segment[group.start..=end].fill(0);
        if end + 1 < last.end {
            let expected = cut(last.end - group.start);
            assert_cut(&zeros_in_front, kept, expected, &format!("zeros to byte {end}")).await;
        }
    }
}

#[tokio::test]
async fn a_file_that_ends_early_is_cut_and_the_offset_told() {
    let (bytes, pieces) = sample();
    let entries = read_all(&open(Ram::of(&bytes)).unwrap().0).await;
    let name = pieces.last().unwrap().segment.clone();
    let own: Vec<_> = pieces.iter().filter(|piece| piece.segment == name).collect();
    for length in 0..own.last().unwrap().end {
        let mut early = bytes.clone();
        early.get_mut(&name).unwrap().truncate(length);
        let lost = own.iter().find(|piece| piece.end > length).unwrap();
        // A group goes whole; a segment that has lost its header, too.
        let front = match lost.start {
            0 => own[0],
            _ => own.iter().find(|piece| piece.group == lost.group && piece.start > 0).unwrap(),
        };
        let report = open(Ram::of(&early)).unwrap().1;
        let cut = report.cut.unwrap();
        assert_eq!((&cut.segment, cut.byte), (&name, front.start as u64), "length {length}");
        assert_eq!(cut.offset, front.offset, "length {length}");
        assert_eq!(report.entries, cut.offset.0 - 1);
        let kept = &entries[..usize::try_from(report.entries).unwrap()];
        if length % 97 == 0 {
            assert_cut(&early, kept, Some(cut), &format!("length {length}")).await;
        }
    }
}

#[tokio::test]
async fn a_lost_newest_segment_is_told_as_a_cut() {
    let (mut bytes, _) = sample();
    let (name, _) = bytes.pop_last().unwrap();
    let offset = segment::first_of(&name).unwrap();
    let (segment, end) = bytes.last_key_value().unwrap();
    let cut = Cut { segment: segment.clone(), byte: end.len() as u64, bytes: 0, offset };

    let (_, report) = open(Ram::of(&bytes)).unwrap();

    assert_eq!(report, Opened { entries: offset.0 - 1, cut: Some(cut) });
}

#[tokio::test]
async fn damage_while_the_log_is_open_is_found_by_the_reader() {
    let (bytes, pieces) = sample();
    let entries: Vec<_> = pieces.iter().filter(|piece| piece.is_entry).collect();
    for seed in 0..PLACES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let piece = entries[random.random_range(0..entries.len())];
        let ram = Ram::of(&bytes);
        let (log, _) = open(ram.clone()).unwrap();
        let newest = log.last(&stream(0)).await.unwrap().unwrap();

        if random.random_bool(0.5) {
            ram.flip(&piece.segment, random.random_range(piece.start..piece.end));
        } else {
            ram.shorten(&piece.segment, random.random_range(piece.start..piece.end));
        }
        let damaged = |read: Result<Vec<Entry>, LogError>| match read {
            Err(LogError::Damaged { offset, .. }) => {
                assert_eq!(offset, piece.offset, "seed {seed}");
            }
            other => panic!("seed {seed}: {other:?}"),
        };
        let before = Offset(piece.offset.0 - 1);
        damaged(log.read(before, 1).await);
        damaged(log.read(before, 100).await);
        damaged(
            log.read(Offset(before.0.saturating_sub(3)), 4.max(random.next_u32() as usize % 9))
                .await,
        );
        if before > Offset(0) {
            assert_eq!(log.read(Offset(before.0 - 1), 1).await.unwrap().len(), 1);
        }
        if newest.offset == piece.offset {
            damaged(log.last(&stream(0)).await.map(|_| vec![]));
        }
    }
}
