//! How a log says that it fares, and what an operator must do.

use super::*;

async fn told(log: &Nats, is_it: impl Fn(&Standing) -> bool) -> Standing {
    until(async || Some(log.standing()).filter(&is_it)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_says_which_server_is_away_and_when_too_many_are() {
    let Some(mut cluster) = Cluster::three(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Ledger, &fresh(3)).await;
    append(&log, &Stream::System, 1).await;
    assert_eq!(told(&log, |it| *it == Standing::Good).await, Standing::Good);

    cluster.kill9(2).await;
    let degraded = told(&log, |it| matches!(it, Standing::Degraded { .. })).await;
    let Standing::Degraded { reason, advice } = degraded else { unreachable!() };
    assert!(reason.contains("n2") && advice.is_some_and(|it| it.contains("n2")), "{reason}");
    until(async || log.append(draft(&Stream::System, 2, ticks(2, 1)), Expected::Any).await.ok())
        .await;

    cluster.kill9(1).await;
    let down = told(&log, |it| matches!(it, Standing::Down { .. })).await;
    assert!(matches!(&down, Standing::Down { advice: Some(_), .. }), "{down:?}");

    cluster.start_again(1);
    cluster.start_again(2);
    assert!(cluster.ready().await);
    told(&log, |it| *it == Standing::Good).await;
}

#[tokio::test]
async fn settings_that_were_changed_later_are_told() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options = fresh(1);
    let log = open(&client, Log::Ledger, &options).await;
    append(&log, &Stream::System, 1).await;
    let names = log.shared.names();
    let mut configuration = settings::needed(names, &options);
    configuration["max_msgs_per_subject"] = json!(1);
    ask(&client, &format!("STREAM.UPDATE.{}", names.stream), &configuration).await;

    let degraded = told(&log, |it| matches!(it, Standing::Degraded { .. })).await;

    let Standing::Degraded { reason, .. } = degraded else { unreachable!() };
    assert!(reason.contains("max_msgs_per_subject is 1 and must be -1"), "{reason}");
}

#[tokio::test]
async fn a_stream_that_is_gone_is_told() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Ledger, &fresh(1)).await;
    append(&log, &Stream::System, 1).await;
    let stream_name = &log.shared.names().stream;

    ask(&client, &format!("STREAM.DELETE.{stream_name}"), &json!({})).await;

    let down = told(&log, |it| matches!(it, Standing::Down { .. })).await;
    let Standing::Down { reason, .. } = down else { unreachable!() };
    assert!(reason.contains(stream_name), "{reason}");
    assert!(log.append(draft(&Stream::System, 2, ticks(2, 1)), Expected::Any).await.is_err());
}

#[tokio::test]
async fn a_broker_without_space_takes_nothing_and_it_is_told_what_to_do() {
    let settings = Settings { store_bytes: Some(1 << 20), ..Settings::default() };
    let Some(cluster) = Cluster::single(settings).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Market, &fresh(1)).await;
    let large = |id| draft(&stream(1), id, ticks(id, 256));
    let mut acknowledged = 0;
    let refused = loop {
        match log.append(large(acknowledged + 1), Expected::Any).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };

    assert_eq!(refused, LogError::Full);
    assert_eq!(log.append(large(acknowledged + 1), Expected::Any).await, Err(LogError::Full));
    let Standing::Down { advice, .. } = log.standing() else { panic!("{:?}", log.standing()) };
    assert!(advice.is_some_and(|advice| advice.contains("restart that node")));
    assert_eq!(read_all(&log).await.len() as u128, acknowledged, "what is refused is not there");
}
