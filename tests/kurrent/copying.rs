//! A whole log goes from files to KurrentDB and back, and every byte of it is the same.

use eventlog::kurrent::double::Double;
use eventlog::stream::{Log, Stream};

use crate::cluster::copying::{both, open, places, there_and_back};
use crate::cluster::{alike, judge};
use crate::house::{House, folder};
use crate::kurrent::place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_to_a_kurrent_double_and_back_is_the_same() {
    let folder = folder();
    let feed = alike::feed();
    let house = House::start(&folder, ["serve", "--data", "one", "--feed", &feed]).await;
    alike::live(&house).await;
    assert!(house.stop().await.success());

    let double = Double::start().expect("a free port");
    there_and_back(&folder, &double.url()).await;

    let at = |name: &str, log| open(&folder.path().join(name), log);
    let first = both(&at("one", Log::Ledger), &at("one", Log::Market)).await;
    let ledger = place::log(&double, Log::Ledger).await;
    let middle = both(&ledger, &place::log(&double, Log::Market).await).await;
    let last = both(&at("two", Log::Ledger), &at("two", Log::Market)).await;
    let of_accounts = |stream: &Stream| matches!(stream, Stream::Account(_));
    let commands = first[0].iter().filter(|entry| of_accounts(&entry.stream)).count();
    assert!(commands >= alike::COMMANDS, "{commands} entries of accounts");
    let hashes = judge::state_hashes(&first[0], &first[1]);
    for copied in [&middle, &last] {
        for (ours, theirs) in first.iter().zip(copied) {
            assert_eq!(places(ours), places(theirs));
            judge::assert_whole(theirs);
        }
        assert_eq!(judge::state_hashes(&copied[0], &copied[1]), hashes);
    }
}
