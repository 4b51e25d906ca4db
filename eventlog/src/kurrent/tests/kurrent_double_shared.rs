//! A database that others use as well: what is theirs is passed over, and what is ours is never stale.

use super::*;
use crate::kurrent::double::store::Event;
use crate::kurrent::tests::kurrent_double_damaged::foreign;
use crate::memory::Memory;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_begins_like_a_stream_of_ours_in_a_kurrent_double_is_passed_over() {
    let double = Double::start().unwrap();
    for log in [Log::Ledger, Log::Market] {
        let options = Options { prefix: String::new(), ..fresh() };
        let own = if log == Log::Ledger { Stream::System } else { stream(1) };
        let writer = open(&double, log, &options).await;
        for id in 0..20 {
            for name in ["keystore-1", "keys-1", "system-7", "market-x", "pulse-", "account-a.b"] {
                double.put(name, Event { id: uuid::Uuid::new_v4(), ..foreign() });
            }
            append(&writer, &own, id).await;
        }

        for log in [&writer, &open(&double, log, &options).await] {
            let all = read_all(log).await;
            assert_eq!(all.len(), 20);
            assert!(all.iter().all(|entry| entry.stream == own));
            assert_eq!(log.head().await, Ok(all[19].offset));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn houses_with_other_prefixes_share_a_kurrent_double() {
    let double = Double::start().unwrap();
    let (blue, red) = (fresh(), fresh());
    let logs = [open(&double, Log::Market, &blue).await, open(&double, Log::Market, &red).await];
    for id in 0..40 {
        append(&logs[id % 2], &stream(1), id as u128).await;
    }

    for (place, log) in logs.iter().enumerate() {
        let all = read_all(log).await;
        let ids: Vec<_> = all.iter().map(|entry| entry.append_id.as_u128() as usize).collect();
        assert_eq!(ids, (0..40).filter(|id| id % 2 == place).collect::<Vec<_>>());
        assert_eq!(log.head().await, Ok(all[19].offset));
        assert_eq!(log.last(&stream(1)).await, Ok(all.last().cloned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_events_of_others_in_a_kurrent_double_stand_in_nobodys_way() {
    let double = Double::start().unwrap();
    let options = fresh();
    let log = open(&double, Log::Market, &options).await;
    let mut offsets = Vec::new();
    for id in 0..10 {
        for _ in 0..1_000 {
            double.put("orders-1", Event { id: uuid::Uuid::new_v4(), ..foreign() });
        }
        offsets.push(append(&log, &stream(1), id).await.offset);
    }

    log.wait_after(Offset(offsets[9].0 - 1)).await.unwrap();
    for log in [&log, &open(&double, Log::Market, &options).await] {
        let found: Vec<_> = read_all(log).await.iter().map(|entry| entry.offset).collect();
        assert_eq!(found, offsets);
        assert_eq!(log.head().await, Ok(offsets[9]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_has_put_into_a_kurrent_double_is_there_at_once() {
    let double = Double::cluster(3).unwrap();
    let options = fresh();
    let here = open(&double, Log::Market, &options).await;
    let there = open(&double, Log::Market, &options).await;
    for id in 0..1_000 {
        let appended = append(&there, &stream(id % 3), id).await;

        assert_eq!(here.head().await, Ok(appended.offset));
        let last = here.last(&stream(id % 3)).await.unwrap().unwrap();
        assert_eq!((last.offset, last.append_id.as_u128()), (appended.offset, id));
    }
}

/// Any offset, and any limit, say the same as a log in memory does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kurrent_double_reads_the_same_from_any_offset_and_by_any_limit() {
    let double = Double::start().unwrap();
    let options = fresh();
    let source = Memory::new(Log::Market);
    for id in 0..3_000 {
        let place = if id % 100 == 7 { 2 } else { 1 };
        source.append(draft(&stream(place), id, ticks(id, 1)), Expected::Any).await.unwrap();
    }
    let stored = source.stored(Offset(0), usize::MAX).await.unwrap();
    open(&double, Log::Market, &options).await.take_over(&stored).await.unwrap();

    let all = read_all(&open(&double, Log::Market, &options).await).await;
    assert_eq!(all.len(), 3_000);
    let behind = |offset: u64| all.partition_point(|entry| entry.offset.0 <= offset);
    let log = open(&double, Log::Market, &options).await;
    for offset in all[700].offset.0 - 1..=all[702].offset.0 + 1 {
        let first = log.read(Offset(offset), 1).await.unwrap();
        assert_eq!(first, all[behind(offset)..=behind(offset)], "{offset}");
    }
    // Whoever looks for one entry asks with the offset before it.
    for place in (0..3_000).step_by(97) {
        let log = open(&double, Log::Market, &options).await;
        let found = log.read(Offset(all[place].offset.0 - 1), 1).await.unwrap();
        assert_eq!(found, all[place..=place], "{place}");
    }
    for limit in [1, 20, 700] {
        let log = open(&double, Log::Market, &options).await;
        for begin in (0..3_000).step_by(431) {
            let expected = &all[begin..(begin + 3 * limit).min(3_000)];
            let mut after = begin.checked_sub(1).map_or(Offset(0), |before| all[before].offset);
            let mut read = Vec::new();
            while read.len() < expected.len() {
                let some = log.read(after, limit.min(expected.len() - read.len())).await.unwrap();
                assert!(!some.is_empty(), "{begin} {limit}");
                after = some.last().unwrap().offset;
                read.extend(some);
            }
            assert!(read == expected, "{begin} {limit}");
        }
    }
    for place in [1, 2] {
        let own: Vec<_> = all.iter().filter(|entry| entry.stream == stream(place)).collect();
        for after in [own.len() - 20, own.len() / 3, 0, own.len() / 2, own.len() - 1] {
            let read = log.read_stream(&stream(place), Version(after as u64), 10).await;
            let expected = own.iter().skip(after).take(10).map(|entry| (*entry).clone());
            assert_eq!(read, Ok(expected.collect()), "{place} {after}");
        }
    }
}
