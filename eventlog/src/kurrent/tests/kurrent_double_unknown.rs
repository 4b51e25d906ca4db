//! Appends of which no word comes: stored or not, at once or late.

use super::*;

/// What a client waits for an answer to a command.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// As a house has it.
fn quick() -> Options {
    Options { patience: Options::default().patience, ..fresh() }
}

/// What may go wrong with an append.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Lost,
    TimedOut,
    Refused,
    Late,
    AnsweredLate,
    Unplaced,
}

const FAULTS: [Fault; 6] = [
    Fault::Lost,
    Fault::TimedOut,
    Fault::Refused,
    Fault::Late,
    Fault::AnsweredLate,
    Fault::Unplaced,
];

fn harm(double: &Double, fault: Fault, times: usize) {
    match fault {
        Fault::Lost => double.lose_answers(times),
        Fault::TimedOut => double.time_out_answers(times),
        Fault::Refused => double.refuse_appends(times),
        Fault::Late => double.delay_appends(times, Duration::from_millis(30)),
        Fault::AnsweredLate => double.answer_late(times, Duration::from_secs(2)),
        Fault::Unplaced => double.withhold_positions(times),
    }
}

/// Asks again until the outcome is known, as a caller does.
async fn known(log: &Kurrent, draft: &Draft, expected: Expected) -> Result<Appended, LogError> {
    until(async || match log.append(draft.clone(), expected).await {
        Err(LogError::OutcomeUnknown | LogError::Unavailable(_)) => None,
        answer => Some(answer),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_went_wrong_is_in_once_whatever_was_expected() {
    for fault in FAULTS {
        let double = Double::start().unwrap();
        let log = open(&double, Log::Market, &quick()).await;
        // Once so that the append itself finds it out, and once so that the caller must.
        for (round, times) in (0_u64..).zip([1, 1, 1, 60, 60, 60]) {
            let (place, before) = (stream((round / 3).into()), Version(round % 3));
            let expected = match (round, before) {
                (3, _) => Expected::Empty,
                (_, Version(1)) => Expected::At(before),
                _ => Expected::Any,
            };
            let draft = draft(&place, u128::from(round) + 1, ticks(round.into(), 1));
            harm(&double, fault, times);
            let asked = Instant::now();
            let answer = log.append(draft.clone(), expected).await;
            assert!(asked.elapsed() < ANSWER_MAX, "{fault:?} {round}: {:?}", asked.elapsed());
            assert!(
                matches!(answer, Ok(_) | Err(LogError::OutcomeUnknown)),
                "{fault:?} {round}: bytes have left: {answer:?}"
            );
            double.heal();

            let again = known(&log, &draft, expected).await.unwrap();
            assert_eq!(again.version, before.next(), "{fault:?} {round}");
            if let Ok(first) = answer {
                assert_eq!(again, Appended { repeated: true, ..first });
            }
            let other = Draft { command_id: uuid::Uuid::from_u128(7), ..draft };
            assert_eq!(known(&log, &other, expected).await, Err(LogError::KeyReused));
        }
        for place in [0, 1] {
            let entries = log.read_stream(&stream(place), Version(0), 9).await.unwrap();
            assert_eq!(entries.len(), 3, "{fault:?}: {entries:?}");
        }
        assert_eq!(read_all(&log).await.len(), 6, "{fault:?}");
        assert_eq!(double.appends_stored(), 6, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_comes_late_does_no_harm() {
    for expected in [Expected::Any, Expected::At(Version(1))] {
        let double = Double::start().unwrap();
        let log = open(&double, Log::Market, &quick()).await;
        append(&log, &stream(1), 1).await;

        // None of the attempts comes through, until the caller gives up.
        double.hold_appends(64);
        let draft = draft(&stream(1), 2, ticks(2, 1));
        assert_eq!(log.append(draft.clone(), expected).await, Err(LogError::OutcomeUnknown));
        double.heal();
        // Another takes the place before they do.
        let other = append(&log, &stream(1), 3).await;
        assert_eq!(other.version, Version(2));
        assert!(double.store_held() > 0);

        let answer = log.append(draft.clone(), expected).await;
        match expected {
            Expected::Any => assert_eq!(answer.map(|it| it.version), Ok(Version(3))),
            _ => assert_eq!(answer, Err(LogError::Conflict { actual: Some(Version(2)) })),
        }

        // And once they come first.
        double.hold_appends(64);
        let draft = self::draft(&stream(2), 4, ticks(4, 1));
        assert_eq!(log.append(draft.clone(), Expected::Empty).await, Err(LogError::OutcomeUnknown));
        double.heal();
        assert!(double.store_held() > 0);
        let answer = log.append(draft, Expected::Empty).await.unwrap();
        assert_eq!((answer.version, answer.repeated), (Version(1), true));
        assert_eq!(log.read_stream(&stream(2), Version(0), 9).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_stored_without_a_word_is_found_behind_others() {
    let double = Double::start().unwrap();
    let options = fresh();
    let rival = open(&double, Log::Market, &options).await;
    // One that gives up before the word can come.
    let hasty = Options { patience: Duration::from_millis(250), ..options };
    let log = open(&double, Log::Market, &hasty).await;
    append(&log, &stream(1), 1_000).await;
    for round in 0..10 {
        let version = log.tip(&stream(1)).await.unwrap().map_or(Version(0), |tip| tip.version);
        let draft = draft(&stream(1), 2 * round + 1, ticks(round, 1));
        let expected = if round % 2 == 0 { Expected::Any } else { Expected::At(version) };
        double.answer_late(1, Duration::from_secs(2));
        let answer = log.append(draft.clone(), expected).await;
        assert_eq!(answer, Err(LogError::OutcomeUnknown));
        double.heal();

        // Another node writes behind it, before anybody here has come by.
        append(&rival, &stream(1), 2 * round + 2).await;
        let answer = known(&log, &draft, expected).await.unwrap();
        assert_eq!((answer.version, answer.repeated), (version.next(), true), "{round}");
    }
    assert_eq!(read_all(&log).await.len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_or_is_gone_is_told_of_within_a_second() {
    for is_frozen in [true, false] {
        let double = Double::start().unwrap();
        let log = open(&double, Log::Market, &quick()).await;
        append(&log, &stream(1), 1).await;

        if is_frozen {
            double.freeze(0);
        } else {
            double.kill(0);
        }
        let mut answers = Vec::new();
        for (id, expected) in
            [(2, Expected::At(Version(1))), (3, Expected::Any), (4, Expected::Any)]
        {
            let asked = Instant::now();
            let draft = draft(&stream(1), id, ticks(id, 1));
            let answer = log.append(draft.clone(), expected).await;
            assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
            let is_open =
                matches!(answer, Err(LogError::OutcomeUnknown | LogError::Unavailable(_)));
            assert!(is_open, "{answer:?}");
            answers.push((draft, expected));
        }
        until(async || matches!(log.standing(), Standing::Down { .. }).then_some(())).await;
        let asked = Instant::now();
        let refused = log.append(draft(&stream(1), 5, ticks(5, 1)), Expected::Any).await;
        assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
        assert!(asked.elapsed() < Duration::from_millis(50), "it is known that nobody is there");

        if is_frozen {
            double.thaw(0);
        } else {
            double.start_again(0).unwrap();
        }
        until(async || (log.standing() == Standing::Good).then_some(())).await;
        let mut versions = Vec::new();
        for (draft, expected) in &answers {
            match known(&log, draft, *expected).await {
                Ok(appended) => versions.push(appended.version.0),
                // One that was sent without a word may have come before.
                Err(error) => {
                    assert!(matches!(error, LogError::Conflict { .. }), "{error:?}");
                    assert!(matches!(expected, Expected::At(_)));
                }
            }
        }
        let entries = log.read_stream(&stream(1), Version(0), 9).await.unwrap();
        assert_eq!(entries.len(), versions.len() + 1);
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(entries.len(), versions.len() + 1, "each stands where it was told to");
    }
}
