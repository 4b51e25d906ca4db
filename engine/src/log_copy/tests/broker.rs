//! Copies to a real broker and back.

use eventlog::nats::server::{Cluster, Settings};

use super::*;
use crate::command_line::Demo;
use crate::configuration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_comes_back_from_a_broker_as_it_was() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path().to_owned());
    let opener =
        Opener::for_copies(&configuration::of_demo(&Demo { data, ..Demo::default() }).unwrap());
    let there = LogUrl::parse(&cluster.url(0)).unwrap();
    let original = filled(1_500).await;
    // Retention has dropped the first entries of each stream.
    let recorded_before = Timestamp::from_micros(i64::MAX);
    let retention = Retention { recorded_before, bytes_max: u64::MAX, up_to: Offset(100) };
    original.trim(retention).await.unwrap();

    let target = opener.open(&there, Log::Market).await.unwrap().transfer;
    target.take_over(&original.stored(Offset(0), 700).await.unwrap()).await.unwrap();
    let copy = copied(original.clone(), target).await.unwrap();
    assert_eq!((copy.entries, copy.put_in, copy.besides), (1_400, 700, 0));

    let at_broker = opener.open_stored(&there, Log::Market).await.unwrap();
    let back = Arc::new(Memory::new(Log::Market));
    let back_again = copied(at_broker, back.clone()).await.unwrap();
    assert_eq!((back_again.entries, back_again.hash), (copy.entries, copy.hash));
    let bodies = async |log: &Memory| {
        let all = log.stored(Offset(0), usize::MAX).await.unwrap();
        all.into_iter().map(|stored| (stored.content, stored.body)).collect::<Vec<_>>()
    };
    assert!(bodies(&back).await == bodies(&original).await, "not a byte is another");
}
