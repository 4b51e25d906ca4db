//! Two processes at one store.

use tempfile::TempDir;

use super::*;
use crate::store::database::{Database, Outlives};

struct Beside {
    folder: TempDir,
    database: Database,
}

impl Beside {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (database, _) = Database::open(&folder.path().join("read.db")).await.unwrap();
        Self { folder, database }
    }

    fn lease(&self) -> FileLease {
        FileLease::new(&self.folder.path().join("read.db"))
    }

    /// Writes nothing, under a lease.
    async fn write(&self, lease: &FileLease) -> Result<u64, String> {
        let mut write = self.database.write(Outlives::Crash).await.unwrap();
        let held = lease.hold(&mut write).await.map_err(|error| error.to_string())?;
        let fence = held.0;
        write.commit().await.unwrap();
        lease.committed(held);
        Ok(fence)
    }

    /// Moves the end of the lease by seconds.
    async fn wait(&self, seconds: i64) {
        let mut write = self.database.write(Outlives::Crash).await.unwrap();
        let mut row = write.lease(NAME).await.unwrap().unwrap();
        row.expires_at -= seconds;
        write.put_lease(NAME, &row).await.unwrap();
        write.commit().await.unwrap();
    }
}

const HELD: &str = "the read store cannot be used: another process writes this read store";
const TAKEN: &str = "the read store cannot be used: another process has taken this read store over: \
                     restart to write it again";

#[tokio::test]
async fn a_lease_is_held_until_its_holder_ends() {
    let beside = Beside::new().await;
    let (first, second) = (beside.lease(), beside.lease());
    assert_eq!(beside.write(&first).await, Ok(1));
    assert_eq!(beside.write(&second).await, Err(HELD.to_owned()));
    assert_eq!(beside.write(&first).await, Ok(1));

    // However it ends, nobody waits for the lease's time.
    drop(first);
    assert_eq!(beside.write(&second).await, Ok(2));
    assert_eq!(beside.write(&second).await, Ok(2));
}

#[tokio::test]
async fn who_sleeps_through_its_time_writes_nothing_any_more() {
    let beside = Beside::new().await;
    let (first, second) = (beside.lease(), beside.lease());
    beside.write(&first).await.unwrap();
    beside.wait(LEASE_SECONDS - 1).await;
    assert_eq!(beside.write(&first).await, Ok(1));
    beside.wait(LEASE_SECONDS - 1).await;
    assert_eq!(beside.write(&first).await, Ok(1));
    assert_eq!(beside.write(&second).await, Err(HELD.to_owned()));

    beside.wait(LEASE_SECONDS + 1).await;
    assert_eq!(beside.write(&second).await, Ok(2));
    assert_eq!(beside.write(&first).await, Err(TAKEN.to_owned()));
    // Also when the second has gone: what the first knows of the store is old.
    beside.wait(LEASE_SECONDS + 1).await;
    assert_eq!(beside.write(&first).await, Err(TAKEN.to_owned()));
}

#[tokio::test]
async fn an_end_that_no_clock_can_have_meant_keeps_nobody_waiting() {
    let beside = Beside::new().await;
    let (first, second) = (beside.lease(), beside.lease());
    beside.write(&first).await.unwrap();
    beside.wait(-3_600).await;
    assert_eq!(beside.write(&second).await, Ok(2));
}
