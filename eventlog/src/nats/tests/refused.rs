//! What a start refuses, and what it says then.

use super::*;
use crate::nats::server::SyncInterval;

async fn refusal(client: &async_nats::Client, log: Log, options: Options) -> String {
    match Nats::open(client.clone(), log, options).await {
        Err(LogError::Unavailable(text)) => text,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it opens"),
    }
}

#[tokio::test]
async fn a_stream_that_is_set_up_otherwise_is_refused_by_the_name_of_the_field() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    for (field, value, told) in [
        ("discard", json!("old"), "discard is \"old\" and must be \"new\""),
        ("max_age", json!(3_600_000_000_000_u64), "max_age is 3600000000000 and must be 0"),
        ("max_msgs", json!(1_000), "max_msgs is 1000 and must be -1"),
        ("max_bytes", json!(1 << 20), "max_bytes is 1048576 and must be -1"),
        ("max_msgs_per_subject", json!(5), "max_msgs_per_subject is 5 and must be -1"),
        ("deny_delete", json!(false), "deny_delete is false and must be true"),
        ("deny_purge", json!(false), "deny_purge is false and must be true"),
        ("allow_direct", json!(false), "allow_direct is false and must be true"),
        ("storage", json!("memory"), "storage is \"memory\" and must be \"file\""),
        ("retention", json!("interest"), "retention is \"interest\" and must be \"limits\""),
        ("allow_msg_ttl", json!(true), "allow_msg_ttl is true and must be off"),
        ("allow_atomic", json!(true), "allow_atomic is true and must be off"),
        ("persist_mode", json!("async"), "persist_mode is \"async\" and must be off"),
        (
            "duplicate_window",
            json!(60_000_000_000_u64),
            "duplicate_window is 60000000000 and must be 120000000000",
        ),
    ] {
        let options = fresh(1);
        let names = Names::new(&options.prefix, Log::Ledger).unwrap();
        let mut configuration = settings::needed(&names, &options);
        configuration[field] = value;
        let made = ask(&client, &format!("STREAM.CREATE.{}", names.stream), &configuration).await;
        assert_eq!(made.get("error"), None, "{field}");

        let text = refusal(&client, Log::Ledger, options.clone()).await;
        assert!(text.contains(&names.stream) && text.contains(told), "{field}: {text}");
        // Nor does making it pass over what is there.
        let made = Nats::create(&client, Log::Ledger, &options).await;
        assert!(
            matches!(&made, Err(LogError::Unavailable(text)) if text.contains(told)),
            "{made:?}"
        );
    }
}

#[tokio::test]
async fn a_market_that_is_kept_otherwise_than_configured_is_refused() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options =
        Options { market_age: Duration::from_hours(1), market_bytes: 1 << 20, ..fresh(1) };
    drop(open(&client, Log::Market, &options).await);
    drop(open(&client, Log::Market, &options).await);

    let other = Options { market_bytes: 1 << 21, ..options };
    let text = refusal(&client, Log::Market, other).await;
    assert!(text.contains("max_bytes is 1048576 and must be 2097152"), "{text}");
}

#[tokio::test]
async fn a_log_that_is_not_there_and_not_to_be_made_is_refused() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options = Options { create: false, ..fresh(1) };

    let text = refusal(&client, Log::Ledger, options.clone()).await;
    assert!(text.contains("_LEDGER") && text.contains("entasis log create"), "{text}");

    Nats::create(&client, Log::Ledger, &options).await.unwrap();
    Nats::create(&client, Log::Ledger, &options).await.unwrap();
    drop(open(&client, Log::Ledger, &options).await);
}

#[tokio::test]
async fn more_replicas_than_servers_are_refused() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };

    let text = refusal(&cluster.client().await, Log::Ledger, fresh(3)).await;

    assert!(text.contains("does not make the stream"), "{text}");
}

/// A user of the engine, who may do what it needs and no more, and an operator.
const USERS: &str = r#"
authorization {
  users = [
    { user: "admin", password: "admin" }
    { user: "app", password: "app", permissions: {
      publish: [
        "test-app.ledger.>", "$JS.FC.>",
        "$JS.API.STREAM.INFO.TEST-APP_LEDGER", "$JS.API.STREAM.MSG.GET.TEST-APP_LEDGER",
        "$JS.API.DIRECT.GET.TEST-APP_LEDGER", "$JS.API.CONSUMER.CREATE.TEST-APP_LEDGER.>"
      ]
      subscribe: ["_INBOX.>"]
    } }
  ]
}
"#;

#[tokio::test]
async fn a_user_who_may_only_what_is_needed_appends_reads_and_follows() {
    let user = |name: &str| Some((name.to_owned(), name.to_owned()));
    let settings = Settings { lines: USERS.to_owned(), user: user("app"), ..Settings::default() };
    let Some(cluster) = Cluster::single(settings).await else { return };
    let app = cluster.client().await;
    let options = Options { prefix: "test-app".to_owned(), ..fresh(1) };

    let text = refusal(&app, Log::Ledger, options.clone()).await;
    assert!(text.contains("entasis log create"), "{text}");

    let admin = async_nats::ConnectOptions::with_user_and_password("admin".into(), "admin".into());
    let admin = admin.connect(cluster.url(0)).await.unwrap();
    Nats::create(&admin, Log::Ledger, &options).await.unwrap();
    let log = open(&app, Log::Ledger, &options).await;
    for id in 1..=100 {
        append(&log, &Stream::System, id).await;
    }
    assert_eq!(log.head().await, Ok(Offset(100)));
    let followed = log.shared.ring.newest();
    until(async || Some(()).filter(|()| *followed.borrow() == Offset(100))).await;
    let log = open(&app, Log::Ledger, &options).await;
    assert_eq!(read_all(&log).await.len(), 100);
    assert_eq!(log.read_stream(&Stream::System, Version(7), 200).await.unwrap().len(), 93);
}

#[tokio::test]
async fn what_an_entry_survives_is_what_the_servers_tell() {
    for (sync_interval, told) in
        [(SyncInterval::Always, Durability::Fsync), (SyncInterval::Ordinary, Durability::Os)]
    {
        let settings = Settings { sync_interval, ..Settings::default() };
        let Some(cluster) = Cluster::single(settings).await else { return };
        let client = cluster.client().await;
        for (sync_always, monitors, durability) in [
            (true, vec![cluster.monitor(0)], told),
            (true, vec![], Durability::Fsync),
            (false, vec![cluster.monitor(0)], Durability::Os),
            (true, vec!["http://127.0.0.1:1".to_owned()], Durability::Os),
        ] {
            let options = Options { sync_always, monitors, ..fresh(1) };
            let log = open(&client, Log::Ledger, &options).await;

            assert_eq!(log.durability(), durability, "{sync_interval:?} {:?}", options.monitors);
        }
    }
}
