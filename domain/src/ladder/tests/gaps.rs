//! Of each gap the further tale counts, and the ledger is told what it does not know.

use super::sources::at;
use super::*;
use crate::ladder::gaps::Teller::{Ledger, Market};
use crate::market::GAPS_MAX;
use crate::market::event::GapReason;

fn opened(first_id: u64) -> MarketEvent {
    MarketEvent::FeedGapOpened { first_id, last_id: first_id + 1, after: at(60), before: at(70) }
}

fn filled(first_id: u64) -> MarketEvent {
    MarketEvent::FeedGapFilled { first_id, last_id: first_id + 1 }
}

fn unfillable(first_id: u64) -> MarketEvent {
    let reason = GapReason::NotToBeHad;
    MarketEvent::FeedGapUnfillable { first_id, last_id: first_id + 1, reason }
}

/// The first id of what is shown, and whether it is still waited for.
fn shown(ladder: &Ladder) -> Vec<(u64, bool)> {
    ladder.gaps().map(|gap| (gap.first_id, !gap.unfillable)).collect()
}

fn told(events: &[(Teller, MarketEvent)]) -> Ladder {
    let mut ladder = Ladder::default();
    for (teller, event) in events {
        ladder.take_gap(*teller, event);
    }
    ladder
}

#[test]
fn the_further_tale_of_a_gap_is_shown() {
    let open = vec![(3, true)];
    let given_up = vec![(3, false)];
    for (market, ledger, expected) in [
        (vec![opened(3)], vec![], open.clone()),
        (vec![], vec![opened(3)], open.clone()),
        (vec![opened(3)], vec![opened(3)], open),
        (vec![opened(3), unfillable(3)], vec![opened(3)], given_up.clone()),
        (vec![opened(3)], vec![opened(3), unfillable(3)], given_up.clone()),
        // The market log has lost its beginning.
        (vec![unfillable(3)], vec![opened(3)], given_up),
        (vec![unfillable(3)], vec![], vec![]),
        (vec![filled(3)], vec![opened(3)], vec![]),
        (vec![opened(3), filled(3)], vec![opened(3), unfillable(3)], vec![]),
        (vec![opened(3)], vec![opened(3), filled(3)], vec![]),
    ] {
        let of = |teller, events: &[MarketEvent]| -> Vec<(Teller, MarketEvent)> {
            events.iter().map(|event| (teller, event.clone())).collect()
        };
        let (market, ledger) = (of(Market, &market), of(Ledger, &ledger));
        let one = told(&[market.clone(), ledger.clone()].concat());
        let other = told(&[ledger.clone(), market.clone()].concat());

        assert_eq!(shown(&one), expected, "{market:?} {ledger:?}");
        assert_eq!(one, other, "{market:?} {ledger:?}");
    }
}

#[test]
fn the_ledger_is_told_what_it_does_not_know_and_no_more() {
    let mut ladder = told(&[
        (Market, opened(1)),
        (Market, opened(3)),
        (Market, opened(5)),
        (Market, filled(5)),
        (Market, unfillable(3)),
        (Market, filled(9)),
    ]);
    assert_eq!(ladder.unrecorded_gaps(9), [opened(1), opened(3), unfillable(3)]);
    assert_eq!(ladder.unrecorded_gaps(2), [opened(1), opened(3)]);

    ladder.copy_gaps(&ladder.unrecorded_gaps(2));
    assert_eq!(ladder.unrecorded_gaps(9), [unfillable(3)]);
    ladder.copy_gaps(&ladder.unrecorded_gaps(9));
    assert_eq!(ladder.unrecorded_gaps(9), []);

    for event in [filled(3), filled(1), opened(7)] {
        ladder.hear_gap(&event);
    }
    assert_eq!(ladder.unrecorded_gaps(9), [filled(1), filled(3), opened(7)]);
    ladder.copy_gaps(&ladder.unrecorded_gaps(9));
    assert_eq!(ladder.unrecorded_gaps(9), []);
    assert_eq!(shown(&ladder), [(7, true)]);
}

#[test]
fn too_many_gaps_forget_first_what_was_filled() {
    let gaps = u64::try_from(GAPS_MAX).unwrap();
    let mut ladder = Ladder::default();
    for first_id in 0..gaps {
        ladder.hear_gap(&opened(2 * first_id));
    }
    ladder.hear_gap(&filled(20));
    ladder.hear_gap(&opened(2 * gaps));
    assert_eq!(ladder.gaps().count(), GAPS_MAX);
    assert_eq!(shown(&ladder)[0], (0, true));

    ladder.hear_gap(&opened(2 * gaps + 2));
    assert_eq!(ladder.gaps().count(), GAPS_MAX);
    assert_eq!(shown(&ladder)[0], (2, true));
}
