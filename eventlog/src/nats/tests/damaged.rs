//! What a broker has lost or altered is told by the first who reads it.

use super::*;

/// Opens a log whose messages an operator may delete.
async fn unguarded(client: &async_nats::Client, log: Log) -> (Nats, Options) {
    let options = fresh(1);
    let names = Names::new(&options.prefix, log).unwrap();
    let mut configuration = settings::needed(&names, &options);
    configuration["deny_delete"] = json!(false);
    let made = ask(client, &format!("STREAM.CREATE.{}", names.stream), &configuration).await;
    assert_eq!(made.get("error"), None);
    (again(client, log, &options).await, options)
}

/// Opens it once more, with nothing in memory.
async fn again(client: &async_nats::Client, log: Log, options: &Options) -> Nats {
    let names = Names::new(&options.prefix, log).unwrap();
    let broker = Broker::new(client.clone(), names).await.unwrap();
    let info = broker.info().await.unwrap();
    Nats::over(broker, &info, options.clone()).await.unwrap()
}

#[tokio::test]
async fn a_deleted_message_is_damage_at_its_place() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    for (log, place) in [(Log::Ledger, Stream::System), (Log::Market, stream(1))] {
        let (writer, options) = unguarded(&client, log).await;
        for id in 1..=30 {
            append(&writer, &place, id).await;
        }
        let what = format!("STREAM.MSG.DELETE.{}", writer.shared.names().stream);
        let deleted = ask(&client, &what, &json!({ "seq": 12 })).await;
        assert_eq!(deleted["success"], json!(true));

        let reader = again(&client, log, &options).await;
        let before = reader.read(Offset(0), 99).await.unwrap();
        assert_eq!(before.len(), 11);
        for limit in [1, 99] {
            let damage = reader.read(Offset(11), limit).await;
            assert!(
                matches!(damage, Err(LogError::Damaged { offset: Offset(12), .. })),
                "{damage:?}"
            );
            let damage = reader.read_stream(&place, Version(11), limit).await;
            assert!(matches!(damage, Err(LogError::Damaged { .. })), "{damage:?}");
        }
        assert_eq!(reader.read_stream(&place, Version(0), 99).await.unwrap().len(), 11);
        assert_eq!(reader.read(Offset(12), 99).await.unwrap().len(), 18);
        let reason = until(async || match reader.standing() {
            Standing::Degraded { reason, .. } => Some(reason),
            Standing::Good | Standing::Down { .. } => None,
        });
        assert!(reason.await.contains("1 messages are missing"));
    }
}

#[tokio::test]
async fn a_ledger_without_its_beginning_does_not_open() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let (writer, options) = unguarded(&client, Log::Ledger).await;
    for id in 1..=3 {
        append(&writer, &Stream::System, id).await;
    }
    let what = format!("STREAM.MSG.DELETE.{}", writer.shared.names().stream);
    ask(&client, &what, &json!({ "seq": 1 })).await;

    let names = Names::new(&options.prefix, Log::Ledger).unwrap();
    let broker = Broker::new(client.clone(), names).await.unwrap();
    let info = broker.info().await.unwrap();
    let opened = Nats::over(broker, &info, options).await;

    assert!(matches!(opened.err(), Some(LogError::Damaged { offset: Offset(1), .. })));
}

#[tokio::test]
async fn a_message_that_nobody_has_sealed_is_damage_at_its_place() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let log = open(&client, Log::Market, &fresh(1)).await;
    append(&log, &stream(1), 1).await;
    let last = log.shared.broker.last(&log.shared.names().subject(&stream(1))).await;
    let Raw { subject, headers, payload, .. } = last.unwrap().unwrap();
    let mut altered = payload.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let subject = async_nats::Subject::from(subject);
    let mut with_all = async_nats::HeaderMap::new();
    for (name, values) in headers.iter() {
        if name.to_string().starts_with("Ent-") {
            with_all.insert(name.clone(), values[0].clone());
        }
    }
    client.publish_with_headers(subject.clone(), with_all, altered.into()).await.unwrap();
    client.publish(subject, "something else".into()).await.unwrap();
    client.flush().await.unwrap();
    until(async || log.head().await.ok().filter(|head| *head == Offset(3))).await;

    assert_eq!(log.read(Offset(0), 9).await.unwrap().len(), 1);
    for after in [1, 2] {
        let damage = log.read(Offset(after), 9).await;
        let Err(LogError::Damaged { offset, .. }) = damage else { panic!("{damage:?}") };
        assert_eq!(offset, Offset(after + 1));
    }
}
