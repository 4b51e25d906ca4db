//! Brokers that stand still, go away, come back, and have forgotten ids.

use super::*;

/// What a client waits for an answer to a command.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Returns the number of the server that leads the JetStream stream of a log.
async fn leader(log: &Nats) -> usize {
    let info = log.shared.broker.info().await.unwrap();
    let leader = info.cluster.unwrap().leader.unwrap();
    leader.strip_prefix('n').unwrap().parse().unwrap()
}

/// Asks again until the outcome is known, as a caller does.
async fn append_until_known(log: &Nats, id: u128, expected: Expected) -> Appended {
    until(async || match log.append(draft(&stream(1), id, ticks(id, 1)), expected).await {
        Ok(appended) => Some(appended),
        Err(LogError::OutcomeUnknown | LogError::Unavailable(_)) => None,
        Err(error) => panic!("{error:?}"),
    })
    .await
}

async fn a_leader_that_stands_still(cluster: Cluster, replicas: usize) {
    let client = cluster.client().await;
    let log = open(
        &client,
        Log::Market,
        &Options { patience: Options::default().patience, ..fresh(replicas) },
    )
    .await;
    append_until_known(&log, 1, Expected::Empty).await;
    let number = if replicas == 1 { 0 } else { leader(&log).await };

    cluster.stop_signal(number).await;
    for (id, version) in [(2, 1), (3, 1)] {
        let asked = Instant::now();
        let answer =
            log.append(draft(&stream(1), id, ticks(id, 1)), Expected::At(Version(version))).await;
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        // On three, another may lead by then.
        let is_open = matches!(answer, Err(LogError::OutcomeUnknown | LogError::Unavailable(_)));
        assert!(is_open || replicas > 1, "{answer:?}");
    }
    cluster.cont(number).await;

    // One of both has the version, whenever it came; each is told, and told the same again.
    let answers = [
        known(&log, 2, Expected::At(Version(1))).await,
        known(&log, 3, Expected::At(Version(1))).await,
    ];
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let entries = until(async || Some(read_all(&log).await)).await;
    let ids: Vec<_> = entries.iter().map(|entry| entry.append_id.as_u128()).collect();
    let won = if answers[0].is_ok() { 2 } else { 3 };
    assert_eq!(ids, [1, won]);
}

async fn known(log: &Nats, id: u128, expected: Expected) -> Result<Appended, LogError> {
    until(async || match log.append(draft(&stream(1), id, ticks(id, 1)), expected).await {
        Err(LogError::OutcomeUnknown | LogError::Unavailable(_)) => None,
        answer => Some(answer),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_stands_still_the_outcome_is_open_and_then_it_is_known() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };

    a_leader_that_stands_still(cluster, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_leader_stands_still_the_outcome_is_open_and_then_it_is_known() {
    let Some(cluster) = Cluster::three(Settings::default()).await else { return };

    a_leader_that_stands_still(cluster, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_nothing_is_sent_and_the_answer_is_at_once() {
    let Some(mut cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Market, &fresh(1)).await;
    append(&log, &stream(1), 1).await;

    cluster.kill9(0).await;
    until(async || Some(()).filter(|()| !log.shared.broker.is_connected())).await;
    let asked = Instant::now();
    let answer = log.append(draft(&stream(1), 2, ticks(2, 1)), Expected::Any).await;
    assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    assert!(matches!(log.read(Offset(5), 1).await, Err(LogError::Unavailable(_))));
    assert!(matches!(log.head().await, Err(LogError::Unavailable(_))));
    assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
    assert!(matches!(log.standing(), Standing::Down { advice: Some(_), .. }));

    cluster.restart(0).await;
    append_until_known(&log, 3, Expected::At(Version(1))).await;
    let ids: Vec<_> = read_all(&log).await.iter().map(|it| it.append_id.as_u128()).collect();
    assert_eq!(ids, [1, 3], "what was not sent does not come later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_all_servers_are_killed_at_once() {
    let Some(mut cluster) = Cluster::three(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Market, &fresh(3)).await;
    let mut acknowledged = Vec::new();
    for id in 1..=200 {
        acknowledged.push((id, append(&log, &stream(id % 5), id).await.offset));
    }

    for number in 0..3 {
        cluster.kill9(number).await;
    }
    for number in 0..3 {
        cluster.start_again(number);
    }
    assert!(cluster.ready().await);

    append_until_known(&log, 201, Expected::Any).await;
    let entries = read_all(&log).await;
    let held: Vec<_> =
        entries.iter().map(|entry| (entry.append_id.as_u128(), entry.offset)).collect();
    assert_eq!(held[..200], acknowledged);
    assert_eq!(held.len(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_sent_again_after_the_broker_has_forgotten_its_id_is_found() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options = fresh(1);
    let log = open(&client, Log::Market, &options).await;
    let names = log.shared.names();
    let window = Duration::from_millis(200);
    let mut configuration = settings::needed(names, &options);
    configuration["duplicate_window"] = json!(u64::try_from(window.as_nanos()).unwrap());
    let changed = ask(&client, &format!("STREAM.UPDATE.{}", names.stream), &configuration).await;
    assert_eq!(changed.get("error"), None);
    let mut first = Vec::new();
    for id in 1..=80 {
        first.push(append(&log, &stream(1), id).await);
    }

    // Not for anything to happen: for time to pass.
    time::sleep(window * 2).await;

    for (id, first) in (1..).zip(&first).step_by(13) {
        let before = Version(first.version.0 - 1);
        for expected in [Expected::Empty, Expected::At(before)] {
            let again = draft(&stream(1), id, ticks(7, 2));
            let answer = log.append(again.clone(), expected).await;
            assert_eq!(answer, Ok(Appended { repeated: true, ..*first }), "{id} {expected:?}");
            let other = Draft { command_id: uuid::Uuid::nil(), ..again };
            assert_eq!(log.append(other, expected).await, Err(LogError::KeyReused));
        }
    }
    assert_eq!(read_all(&log).await.len(), 80);
}
