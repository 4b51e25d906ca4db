//! One book through everything that can happen to it. Levels are written `price×quantity`.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

fn level(text: &str) -> domain::book::Level {
    let (price, quantity) = text.split_once('×').unwrap();
    domain::book::Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
}

fn sides(text: &str) -> (Vec<domain::book::Level>, Vec<domain::book::Level>) {
    let (bids, asks) = text.split_once('|').unwrap();
    let side = |side: &str| side.split_whitespace().map(level).collect();
    (side(bids), side(asks))
}

/// What is heard, one a line, and beneath it what is handed on.
///
/// `book L bids | asks`, `diff U u bids | asks`, `diff U u after pu bids | asks`,
/// `top u bid | ask`, `silent`, `disconnected`, `failed`.
#[expect(clippy::needless_pass_by_value, reason = "expect![[…]] is written in the call")]
fn check(heard: &str, expected: Expect) {
    let mut splice = Splice::default();
    let mut shown = String::new();
    for line in heard.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let stamp = Stamp { received_at: Timestamp::default(), venue_time: None };
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |place: usize| rest.split_whitespace().nth(place).unwrap().parse().unwrap();
        let levels = |skip: usize| sides(&rest.split(' ').skip(skip).collect::<Vec<_>>().join(" "));
        let told = match kind {
            "book" => {
                let (bids, asks) = levels(1);
                splice.snapshot(stamp, &BookSnapshot { update_id: number(0), bids, asks })
            }
            "diff" => {
                let after = rest.contains("after");
                let (bids, asks) = levels(if after { 4 } else { 2 });
                let previous_id = after.then(|| number(3));
                let (first_id, last_id) = (number(0), number(1));
                splice.diff(stamp, BookDiff { first_id, last_id, previous_id, bids, asks })
            }
            "top" => {
                let (bids, asks) = levels(1);
                let top = Top { update_id: number(0), bid: bids[0], ask: asks[0] };
                splice.top(stamp, top).into_iter().collect()
            }
            "silent" => splice.lose(stamp, LostReason::Silent).into_iter().collect(),
            "disconnected" => splice.lose(stamp, LostReason::Disconnected).into_iter().collect(),
            "failed" => {
                splice.fail();
                Vec::new()
            }
            other => panic!("{other}"),
        };
        for told in told {
            let show = |levels: &[domain::book::Level]| {
                let level =
                    |level: &domain::book::Level| format!("{}×{} ", level.price, level.quantity);
                levels.iter().map(level).collect::<String>()
            };
            let told = match told.book {
                Book::Snapshot(book) => {
                    format!("book {} {}| {}", book.update_id, show(&book.bids), show(&book.asks))
                }
                Book::Diff(diff) => format!("diff {}..{}", diff.first_id, diff.last_id),
                Book::Lost(reason) => format!("lost: {reason:?}"),
            };
            writeln!(shown, "{}", told.trim_end()).unwrap();
        }
    }
    let state = if splice.book().is_some() { "synced" } else { "buffering" };
    let wants = if splice.wants_snapshot() { ", wants a snapshot" } else { "" };
    writeln!(shown, "= {state}{wants}, {} tries", splice.tries()).unwrap();
    expected.assert_eq(&shown);
}

#[test]
fn nothing_is_told_before_a_snapshot() {
    check(
        "diff 1 2 9×1 | 10×1",
        expect![[r#"
        = buffering, wants a snapshot, 0 tries
    "#]],
    );
    check(
        "silent\ndisconnected\ntop 1 9×1 | 10×1",
        expect![[r#"
        = buffering, 0 tries
    "#]],
    );
}

#[test]
fn what_the_snapshot_holds_already_is_dropped_and_the_first_kept_diff_may_begin_before_it() {
    check(
        "diff 1 4 9×1 |
         diff 5 8 9×2 |
         diff 9 12 9×3 |
         diff 13 14 | 10×5
         book 10 9×2 | 10×1
         diff 15 15 9×4 |",
        expect![[r#"
            book 10 9×2 | 10×1
            diff 9..12
            diff 13..14
            diff 15..15
            = synced, 0 tries
        "#]],
    );
}

#[test]
fn the_first_kept_diff_may_begin_right_after_the_snapshot() {
    check(
        "diff 1 10 9×1 |\ndiff 11 12 9×3 |\nbook 10 9×2 | 10×1",
        expect![[r#"
        book 10 9×2 | 10×1
        diff 11..12
        = synced, 0 tries
    "#]],
    );
}

#[test]
fn futures_follow_the_id_before_and_may_jump() {
    check(
        "diff 10 20 after 8 9×1 |
         diff 25 30 after 20 9×2 |
         diff 40 50 after 30 9×3 |
         book 27 9×1 | 10×1
         diff 61 62 after 50 9×4 |
         diff 63 64 after 62 9×4 |
         diff 70 72 after 65 9×4 |",
        expect![[r#"
            book 27 9×1 | 10×1
            diff 25..30
            diff 40..50
            diff 61..62
            diff 63..64
            lost: Hole
            = buffering, wants a snapshot, 0 tries
        "#]],
    );
}

#[test]
fn a_snapshot_older_than_the_stream_is_asked_for_again_and_five_throw_the_buffer_away() {
    check(
        "diff 11 12 9×1 |\nbook 9 9×1 | 10×1",
        expect![[r#"
        = buffering, wants a snapshot, 1 tries
    "#]],
    );
    check(
        "diff 11 12 9×1 |
         book 5 9×1 | 10×1
         book 6 9×1 | 10×1
         failed
         book 11 9×1 | 10×1",
        expect![[r#"
            book 11 9×1 | 10×1
            diff 11..12
            = synced, 0 tries
        "#]],
    );
    check(
        "diff 11 12 9×1 |
         book 5 9×1 | 10×1
         failed
         failed
         failed
         failed",
        expect![[r#"
            = buffering, 5 tries
        "#]],
    );
}

#[test]
fn a_removed_diff_loses_the_book_until_the_next_snapshot() {
    check(
        "book 10 9×2 | 10×1
         diff 11 12 9×3 |
         diff 15 16 9×4 |
         diff 17 18 9×5 |
         book 16 9×4 | 10×1
         diff 19 19 9×6 |",
        expect![[r#"
            book 10 9×2 | 10×1
            diff 11..12
            lost: Hole
            book 16 9×4 | 10×1
            diff 17..18
            diff 19..19
            = synced, 0 tries
        "#]],
    );
}

#[test]
fn a_hole_in_the_buffer_makes_what_is_before_it_useless() {
    check(
        "diff 11 12 9×1 |\ndiff 15 16 9×2 |\nbook 11 9×1 | 10×1",
        expect![[r#"
        = buffering, wants a snapshot, 1 tries
    "#]],
    );
}

#[test]
fn the_same_diff_from_two_sockets_counts_once_even_when_they_cut_it_differently() {
    check(
        "book 10 9×2 | 10×1
         diff 11 12 9×3 |
         diff 11 12 9×3 |
         diff 9 11 9×9 |
         diff 12 14 9×4 |",
        expect![[r#"
            book 10 9×2 | 10×1
            diff 11..12
            diff 12..14
            = synced, 0 tries
        "#]],
    );
}

#[test]
fn a_crossed_book_is_lost_and_a_crossed_snapshot_is_none() {
    check(
        "book 10 9×2 | 10×1\ndiff 11 12 10×3 |",
        expect![[r#"
        book 10 9×2 | 10×1
        lost: Crossed
        = buffering, 0 tries
    "#]],
    );
    check(
        "book 10 11×2 | 10×1",
        expect![[r#"
        = buffering, 1 tries
    "#]],
    );
}

#[test]
fn the_witness_may_come_before_its_diff_or_after_it_and_counts_by_value() {
    check(
        "top 12 9.00×3.0 | 10×1
         book 10 9×2 | 10×1
         top 10 9×2 | 10×1
         diff 11 12 9×3 |
         diff 13 13 9×4 |
         top 12 9×3 | 10.0×1",
        expect![[r#"
            book 10 9×2 | 10×1
            diff 11..12
            diff 13..13
            = synced, 0 tries
        "#]],
    );
    for late in [true, false] {
        let (diff, top) = ("diff 11 12 9×3 |", "top 12 9×4 | 10×1");
        let (one, other) = if late { (diff, top) } else { (top, diff) };
        let after = "diff 13 13 9×1 |\nbook 12 9×3 | 10×1";
        let told = if late { "\ndiff 11..12" } else { "" };
        let text = format!("book 10 9×2 | 10×1{told}\nlost: Contradicted\n");
        let rest = "book 12 9×3 | 10×1\ndiff 13..13\n= synced, 0 tries\n";
        let mut expected = expect![""];
        let whole: &'static str = Box::leak((text + rest).into_boxed_str());
        expected.data = whole;
        check(&format!("book 10 9×2 | 10×1\n{one}\n{other}\n{after}"), expected);
    }
}

#[test]
fn a_book_that_fell_silent_comes_back_whole_when_nothing_was_missed() {
    for silence in ["silent", "disconnected"] {
        let reason = if silence == "silent" { "Silent" } else { "Disconnected" };
        let heard = format!(
            "book 10 9×2 8×1 | 10×1
             {silence}
             {silence}
             diff 8 10 9×9 |
             diff 11 11 9×0 |
             diff 12 12 9×7 |"
        );
        let told = format!(
            "book 10 9×2 8×1 | 10×1\nlost: {reason}\nbook 11 8×1 | 10×1\ndiff 12..12\n= synced, 0 tries\n"
        );
        let mut expected = expect![""];
        expected.data = Box::leak(told.into_boxed_str());
        check(&heard, expected);
    }
}

#[test]
fn a_kept_book_is_given_up_when_the_venues_ids_have_started_again() {
    let old = |count| {
        (1..=count).map(|id| format!("diff {id} {id} 9×3 |")).collect::<Vec<_>>().join("\n")
    };
    let heard = format!("book 1000 9×2 | 10×1\ndisconnected\n{}", old(OLD_MAX));
    check(
        &heard,
        expect![[r#"
        book 1000 9×2 | 10×1
        lost: Disconnected
        = buffering, 0 tries
    "#]],
    );
    check(
        &format!("{heard}\ndiff 65 65 9×4 |\nbook 64 9×3 | 10×1\ndiff 66 66 9×5 |"),
        expect![[r#"
            book 1000 9×2 | 10×1
            lost: Disconnected
            book 64 9×3 | 10×1
            diff 65..65
            diff 66..66
            = synced, 0 tries
        "#]],
    );
}

#[test]
fn a_book_that_missed_something_while_it_was_silent_waits_for_a_snapshot() {
    check(
        "book 10 9×2 | 10×1\nsilent\ndiff 12 12 9×3 |",
        expect![[r#"
        book 10 9×2 | 10×1
        lost: Silent
        = buffering, wants a snapshot, 0 tries
    "#]],
    );
}

#[test]
fn an_older_snapshot_does_not_take_a_book_back_and_a_newer_one_replaces_it() {
    check(
        "book 10 9×2 | 10×1\nbook 9 9×1 | 10×1\nbook 12 9×5 | 10×1",
        expect![[r#"
        book 10 9×2 | 10×1
        book 12 9×5 | 10×1
        = synced, 0 tries
    "#]],
    );
}

#[test]
fn the_buffer_is_bounded_and_a_later_snapshot_still_fits() {
    let mut splice = Splice::default();
    let stamp = Stamp { received_at: Timestamp::default(), venue_time: None };
    let diff = |id: u64| BookDiff {
        first_id: id,
        last_id: id,
        previous_id: None,
        bids: vec![level("9×1")],
        asks: Vec::new(),
    };
    let last = u64::try_from(DIFFS_MAX).unwrap() + 10;
    for id in 1..=last {
        assert!(splice.diff(stamp, diff(id)).is_empty());
    }
    let snapshot = |update_id: u64| {
        let (bids, asks) = sides("9×1 | 10×1");
        BookSnapshot { update_id, bids, asks }
    };

    assert!(splice.snapshot(stamp, &snapshot(5)).is_empty());
    assert_eq!(splice.snapshot(stamp, &snapshot(20)).len(), DIFFS_MAX + 11 - 20);
}

#[test]
fn a_snapshot_is_cut_to_what_is_ever_shown() {
    let mut splice = Splice::default();
    let stamp = Stamp { received_at: Timestamp::default(), venue_time: None };
    let bids = (1..=1_500).rev().map(|price| level(&format!("{price}×1"))).collect();
    let asks = (2_000..=3_500).map(|price| level(&format!("{price}×1"))).collect();

    let told = splice.snapshot(stamp, &BookSnapshot { update_id: 1, bids, asks });

    let [Told { book: Book::Snapshot(cut), .. }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((cut.bids.len(), cut.asks.len()), (1_000, 1_000));
    assert_eq!((cut.bids[999], cut.asks[999]), (level("501×1"), level("2999×1")));
    assert_eq!(splice.book().unwrap().counts(), (1_000, 1_000));
}
