//! Append ids that are sent again when the log may have forgotten them.

use super::*;
use crate::kurrent::double::faults::Reads;
use crate::kurrent::ids::IDS_MAX;
use crate::kurrent::reading::NewestOf;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_forgotten_is_found_behind_the_expected_version() {
    let double = Double::start().unwrap();
    let log = open(&double, Log::Market, &fresh()).await;
    let first = append(&log, &stream(1), 1).await;
    let second = append(&log, &stream(1), 2).await;
    append(&log, &stream(1), 3).await;
    let NewestOf::Raw(newest) = log.shared.newest_of(&stream(1)).await.unwrap() else {
        panic!("it has entries")
    };
    for id in 0..=IDS_MAX as u128 {
        let append_id = uuid::Uuid::from_u128(id + (1 << 64));
        let place = Place { append_id, ..newest.place().unwrap() };
        log.shared.ids.note_alone(&stream(2), place);
    }
    assert_eq!(log.shared.ids.find(&stream(1), uuid::Uuid::from_u128(1)), None);

    let again = |id| draft(&stream(1), id, ticks(id, 1));
    let repeated = |first| Ok(Appended { repeated: true, ..first });
    assert_eq!(log.append(again(1), Expected::Empty).await, repeated(first));
    assert_eq!(log.append(again(2), Expected::At(Version(1))).await, repeated(second));
    let other = Draft { command_id: uuid::Uuid::from_u128(9), ..again(2) };
    assert_eq!(log.append(other, Expected::Empty).await, Err(LogError::KeyReused));
    assert_eq!(read_all(&log).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_known_again_after_a_restart_and_on_every_node() {
    let double = Double::start().unwrap();
    let options = fresh();
    let log = open(&double, Log::Market, &options).await;
    let mut first = Vec::new();
    for id in 0..300 {
        first.push(append(&log, &stream(id % 3), id).await);
    }
    drop(log);

    let log = open(&double, Log::Market, &options).await;
    for (id, first) in (0..).zip(&first) {
        let again = append(&log, &stream(id % 3), id).await;
        assert_eq!(again, Appended { repeated: true, ..*first });
        let elsewhere = append(&log, &stream(3 + id % 3), id).await;
        assert!(!elsewhere.repeated, "in another stream it is another entry");
    }
    assert_eq!(read_all(&log).await.len(), 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_another_node_has_just_put_in_is_known_though_nothing_is_expected() {
    let double = Double::start().unwrap();
    let options = fresh();
    let log = open(&double, Log::Market, &options).await;
    let rival = open(&double, Log::Market, &options).await;
    for round in 0..20 {
        // The tail of this node sees nothing for a while.
        double.break_reads(Reads::OfAll, 0, 3);
        // While a tail hears nothing, its node sends nothing.
        let known = async |log: &Kurrent, id, figures| {
            let draft = draft(&stream(1), id, ticks(id, figures));
            until(async || log.append(draft.clone(), Expected::Any).await.ok()).await
        };
        let mut first = Vec::new();
        for id in 0..3 {
            first.push(known(&rival, 10 * round + id, 1).await);
        }
        for (id, first) in (0..).zip(first) {
            let again = known(&log, 10 * round + id, 2).await;
            assert_eq!(again, Appended { repeated: true, ..first }, "{round} {id}");
        }
    }
    double.heal();
    assert_eq!(read_all(&log).await.len(), 60);
}
