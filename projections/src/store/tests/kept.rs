//! States that are kept under names.

use eventlog::entry::Version;
use eventlog::keep::{Keep, Kept};

use super::house::House;

fn kept(version: u64) -> Kept {
    let state = format!("state {version}").into_bytes();
    Kept { revision: 3, version: Version(version), state }
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart() {
    let house = House::new();
    {
        let store: &dyn Keep = &house.open().await;
        assert_eq!(store.load("market-binance.BTC-USDT").await, Ok(None));
        for version in [1, 2] {
            store.save("market-binance.BTC-USDT", kept(version)).await.unwrap();
        }
        store.save("market-binance.ETH-USDT", kept(7)).await.unwrap();
    }
    let store: &dyn Keep = &house.open().await;
    assert_eq!(store.load("market-binance.BTC-USDT").await, Ok(Some(kept(2))));
    assert_eq!(store.load("market-binance.ETH-USDT").await, Ok(Some(kept(7))));
}

#[tokio::test]
async fn what_is_damaged_is_nothing_and_can_be_kept_again() {
    for harm in [
        "UPDATE kept SET state = x'00'",
        "UPDATE kept SET revision = 4",
        "UPDATE kept SET version = version + 1",
        "UPDATE kept SET version = 'two'",
        "UPDATE kept SET checksum = checksum + 1",
    ] {
        let house = House::new();
        let store: &dyn Keep = &house.open().await;
        store.save("market-binance.BTC-USDT", kept(1)).await.unwrap();
        house.sql(harm).await;
        assert_eq!(store.load("market-binance.BTC-USDT").await, Ok(None), "{harm}");
        store.save("market-binance.BTC-USDT", kept(2)).await.unwrap();
        assert_eq!(store.load("market-binance.BTC-USDT").await, Ok(Some(kept(2))), "{harm}");
    }
}

#[tokio::test]
async fn a_state_is_not_taken_for_another() {
    let house = House::new();
    let store: &dyn Keep = &house.open().await;
    store.save("a", kept(1)).await.unwrap();
    house.sql("UPDATE kept SET name = 'b'").await;
    assert_eq!(store.load("b").await, Ok(None));
}
