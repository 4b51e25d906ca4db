//! Every name that was ever recorded has its sample, and the current version writes the same bytes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn read(name: &str) -> String {
    let path = golden().join(format!("{name}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_sample_reads_and_is_written_again_to_the_byte() {
    for (name, family) in NAMES {
        let sample = read(name);
        let event = match family {
            Family::Market => Event::Market(serde_json::from_str(&sample).unwrap()),
            Family::Candle => Event::Candle(serde_json::from_str(&sample).unwrap()),
        };

        assert_eq!(serde_json::to_string(&event).unwrap(), sample.trim_end(), "{name}");
        assert!(sample.starts_with(&format!(r#"{{"type":"{name}","#)), "{name}");
    }
}

#[test]
fn each_sample_belongs_to_a_name_and_each_name_to_a_family() {
    let names: BTreeSet<String> = NAMES.iter().map(|(name, _)| format!("{name}.json")).collect();
    let files: BTreeSet<String> = std::fs::read_dir(golden())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();

    assert_eq!(files, names);
    assert_eq!(family("tick_observed.v1"), Some(Family::Market));
    assert_eq!(family("tick_observed.v0"), None);
}

#[test]
fn an_event_with_a_field_that_nobody_knows_is_not_read() {
    let sample = read("feed_gap_filled.v1").replace("first_id", "firstly_id");

    assert!(serde_json::from_str::<MarketEvent>(&sample).is_err());
}

#[test]
fn each_reason_has_its_name_for_ever() {
    use crate::book::LostReason;
    use crate::market::event::GapReason;

    for (reason, name) in
        [(GapReason::TooManyGaps, "too_many_gaps"), (GapReason::NotToBeHad, "not_to_be_had")]
    {
        let sample = read("feed_gap_unfillable.v1").replace("too_many_gaps", name);
        let event = MarketEvent::FeedGapUnfillable {
            first_id: 3_735_683_260,
            last_id: 3_735_683_264,
            reason,
        };
        assert_eq!(serde_json::from_str::<MarketEvent>(&sample).unwrap(), event);
        assert_eq!(serde_json::to_string(&event).unwrap(), sample.trim_end());
    }
    for (reason, name) in [
        (LostReason::Hole, "hole"),
        (LostReason::Crossed, "crossed"),
        (LostReason::Contradicted, "contradicted"),
        (LostReason::Disconnected, "disconnected"),
        (LostReason::Silent, "silent"),
    ] {
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("{name:?}"));
    }
}
