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
            Family::Account => Event::Account(serde_json::from_str(&sample).unwrap()),
            Family::Refusal => Event::Refusal(serde_json::from_str(&sample).unwrap()),
            Family::Key => Event::Key(serde_json::from_str(&sample).unwrap()),
            Family::Access => Event::Access(serde_json::from_str(&sample).unwrap()),
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
fn each_word_of_an_account_is_its_word_for_ever() {
    use crate::account::event::{Cause, Firing, Trigger};
    use crate::account::position::{Mode, PositionSide};
    use crate::fill::Basis;

    for (cause, text) in
        [(Cause::Requested, r#"{"kind":"requested"}"#), (Cause::Netted, r#"{"kind":"netted"}"#)]
    {
        assert_eq!(serde_json::to_string(&cause).unwrap(), text);
        assert_eq!(serde_json::from_str::<Cause>(text).unwrap(), cause);
    }
    for (trigger, name) in [
        (Trigger::Liquidation, "liquidation"),
        (Trigger::StopLoss, "stop_loss"),
        (Trigger::TakeProfit, "take_profit"),
    ] {
        let price = "61000.00".parse().unwrap();
        let cause = Cause::Fired(Firing { trigger, set_by: 3, trade_id: 9, price });
        let text = format!(
            r#"{{"kind":"fired","trigger":"{name}","set_by":3,"trade_id":9,"price":"61000.00"}}"#
        );
        assert_eq!(serde_json::to_string(&cause).unwrap(), text);
        assert_eq!(serde_json::from_str::<Cause>(&text).unwrap(), cause);
    }
    let words = (Mode::Hedging, PositionSide::Short, Basis::BookVwap);
    assert_eq!(serde_json::to_string(&words).unwrap(), r#"["hedging","short","book_vwap"]"#);
    let words = (Mode::Netting, PositionSide::Long, Basis::LastPrice);
    assert_eq!(serde_json::to_string(&words).unwrap(), r#"["netting","long","last_price"]"#);
}

#[test]
fn a_position_that_is_never_liquidated_says_so() {
    let sample = read("position_opened.v1");
    let priced = r#""liquidation_price":"55900.167705192629815745""#;
    let never = sample.replace(priced, r#""liquidation_price":null"#);
    let event: AccountEvent = serde_json::from_str(&never).unwrap();

    assert_ne!(never, sample);
    assert_eq!(serde_json::to_string(&event).unwrap(), never.trim_end());
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
