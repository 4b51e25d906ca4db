//! Whichever call is the last one, while segments are begun, sealed, prepared and dropped.

use super::*;

const OPTIONS: Options = Options { segment_bytes: 2 << 10, prepare_bytes: 512, append_ids_max: 64 };
const ENTRIES: u128 = 40;

fn entry(id: u128) -> Draft {
    let recorded_at = second(id);
    Draft { recorded_at, ..draft(&stream(id % 3), id, ticks(id, 1 + id % 9)) }
}

fn second(id: u128) -> Timestamp {
    Timestamp::from_micros(i64::try_from(id).unwrap() * 1_000_000)
}

/// What was acknowledged: entries, and floors.
struct Told {
    entries: u64,
    floor: Offset,
}

fn run(ram: &Arc<Ram>) -> Told {
    let mut told = Told { entries: 0, floor: Offset(0) };
    let Ok(mut log) = Led::open(ram, OPTIONS) else { return told };
    for id in 0..ENTRIES {
        told.entries += u64::from(log.write(&[entry(id)]));
        let (Ok(()) | Err(_)) = log.worker.work_off();
        if id % 12 == 11 {
            let recorded_before = second(id - 8);
            let up_to = Offset(u64::MAX);
            let old = Retention { recorded_before, bytes_max: u64::MAX, up_to };
            if let Ok(trimmed) = log.shared.trim(old) {
                told.floor = trimmed.floor;
            }
        }
    }
    told
}

async fn assert_survived(bytes: &Bytes, told: &Told, context: &str) {
    let (log, report) =
        open_as(Ram::of(bytes)).unwrap_or_else(|error| panic!("{context}: {error}"));
    let floor = log.floor().await.unwrap();
    assert!(floor >= told.floor, "{context}: what was dropped is back");
    assert!(floor.0 <= told.entries, "{context}: more was dropped than ever told");
    let head = log.head().await.unwrap().0;
    assert!(head >= told.entries && head <= told.entries + 1, "{context}: {head} entries");
    assert_eq!(report.entries, head - floor.0, "{context}");
    let entries = read_all(&log).await;
    let ids = entries.iter().map(|entry| (entry.offset.0, entry.append_id.as_u128() + 1));
    let right = (floor.0 + 1..=head).map(|offset| (offset, u128::from(offset)));
    assert_eq!(ids.collect::<Vec<_>>(), right.collect::<Vec<_>>(), "{context}");
    for place in 0..3 {
        let of_stream = entries.iter().filter(|entry| entry.stream == stream(place));
        let own: Vec<_> = of_stream.cloned().collect();
        let read = log.read_stream(&stream(place), Version(0), usize::MAX).await;
        assert_eq!(read, Ok(own), "{context}");
    }
    // What is held is known again, and what comes goes behind it.
    for id in u128::from(floor.0)..ENTRIES + 3 {
        let appended = log.append(entry(id), Expected::Any).await.unwrap();
        assert_eq!(appended.repeated, id < u128::from(head), "{context}");
        assert_eq!(u128::from(appended.offset.0), id + 1, "{context}");
    }
}

fn open_as(files: Arc<dyn Files>) -> Result<(Embedded, Opened), LogError> {
    Embedded::open(files, Log::Market, OPTIONS)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_dropped_comes_back() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for first in 0.. {
            let ram = Ram::of(&Bytes::new());
            ram.fail(Some(Which::From(first)), kind);
            let told = run(&ram);
            let survived = [ram.bytes(), ram.synced(), ram.named()];
            for (bytes, how) in survived.iter().zip(["killed", "power cut", "names kept"]) {
                assert_survived(bytes, &told, &format!("{kind}, call {first}, {how}")).await;
            }
            if ram.calls() <= first {
                assert_eq!(u128::from(told.entries), ENTRIES);
                assert!(first > 200 && told.floor > Offset(10), "{first}, {}", told.floor);
                break;
            }
        }
    }
}
