//! What stays, over any sequence of times.

use domain::time::{MINUTE, SECOND};
use proptest::prelude::*;

use super::*;

fn numbered(times: &[i64]) -> Vec<(u64, Timestamp)> {
    let at = |time: &i64| "2024-03-21T09:30:00Z".parse::<Timestamp>().unwrap().plus(*time);
    (1..).zip(times.iter().map(at)).collect()
}

#[test]
fn the_newest_stays_and_the_first_of_each_hour_and_day() {
    let day = DAY;
    let hour = 60 * MINUTE;
    let times = [0, MINUTE, hour, day, day + hour, 3 * day, 3 * day + MINUTE, 3 * day + 2 * MINUTE];
    // The first day is four days old: one of it stays. Of the newest hour the first and the newest.
    let stay = staying(&numbered(&times));
    assert_eq!(stay, [1, 4, 5, 6, 8].into());
    assert_eq!(runs_between(&numbered(&times), &stay), [(1, 4), (6, 8)]);
}

#[test]
fn a_month_of_snapshots_is_some_eighty_cuts() {
    let mut kept = Vec::new();
    for (number, place) in (1..).zip(0..30 * 8_640) {
        kept.push((number, numbered(&[place * 10 * SECOND])[0].1));
        let stay = staying(&kept);
        kept.retain(|(number, _)| stay.contains(number));
        assert!(kept.len() <= 1 + 49 + 30, "{}", kept.len());
    }
    assert_eq!(kept.len(), 29 + 49 + 1);
}

proptest! {
    /// Whether it is asked after every cut or once at the end; also when the clock is set back.
    #[test]
    fn what_stays_has_a_limit_and_is_the_same_however_often_it_is_asked(
        pauses in prop::collection::vec(
            prop_oneof![5 => 0..90 * MINUTE, 2 => 0..30 * DAY, 1 => -3 * DAY..0], 1..200,
        ),
        set_back in any::<bool>(),
    ) {
        let mut now = 0;
        let time = |pause: &i64| {
            now += if set_back { *pause } else { pause.abs() };
            now
        };
        let times: Vec<i64> = pauses.iter().map(time).collect();
        let all = numbered(&times);
        let mut kept = Vec::new();
        for cut in &all {
            kept.push(*cut);
            let stay = staying(&kept);
            for (before, after) in runs_between(&kept, &stay) {
                prop_assert!(before < after && stay.contains(&after));
                prop_assert!(before == 0 || stay.contains(&before));
                prop_assert!(!stay.iter().any(|number| (before + 1..after).contains(number)));
            }
            kept.retain(|(number, _)| stay.contains(number));
            prop_assert!(kept.last() == Some(cut));
            prop_assert!(kept.len() <= 1 + CUTS_HOURLY_MAX + CUTS_DAILY_MAX);
        }
        if !set_back {
            let once: Vec<u64> = staying(&all).into_iter().collect();
            let often: Vec<u64> = kept.iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(often, once);
        }
    }
}
