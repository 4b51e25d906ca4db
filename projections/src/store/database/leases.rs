//! The SQL of leases.

use crate::store::StoreError;
use crate::store::database::values::Row;
use crate::store::database::{Transaction, unreadable};

/// Seconds by which the clock of a server may be behind the one that wrote the end of a lease: another
/// server may have taken over, or its clock been set. A lease that seems to last longer than that is not
/// believed.
const CLOCKS_SECONDS: i64 = 30;

/// The row of a lease.
pub(in crate::store) struct LeaseRow {
    pub(in crate::store) owner: String,
    pub(in crate::store) fence: u64,
    /// Seconds, by the database's clock.
    pub(in crate::store) expires_at: i64,
}

impl LeaseRow {
    /// Whether its time is not over, of those that can last for so many seconds. Nobody takes one for
    /// longer: such an end was written by a clock that was wrong.
    pub(in crate::store) fn lasts(&self, now: i64, seconds: i64) -> bool {
        (1..=seconds).contains(&self.expires_at.saturating_sub(now))
    }
}

impl Transaction<'_> {
    /// Returns the time in seconds, by the database's clock: of several nodes, the one that all see.
    pub(in crate::store) async fn clock(&mut self) -> Result<i64, StoreError> {
        let statement = if self.is_shared() {
            "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)"
        } else {
            "SELECT CAST(strftime('%s', 'now') AS INTEGER)"
        };
        self.one(statement, &[]).await?.and_then(|row| row.integer(0)).ok_or_else(unreadable)
    }

    /// Returns who holds a lease; a row that does not read is nobody's.
    pub(in crate::store) async fn lease(
        &mut self,
        name: &str,
    ) -> Result<Option<LeaseRow>, StoreError> {
        let statement = "SELECT owner, fence, expires_at FROM lease WHERE name = $1";
        Ok(self.one(statement, &[name.into()]).await?.and_then(|row| lease(&row)))
    }

    /// Puts a lease in place, whoever holds it.
    pub(in crate::store) async fn put_lease(
        &mut self,
        name: &str,
        lease: &LeaseRow,
    ) -> Result<(), StoreError> {
        self.done(
            "INSERT INTO lease (name, owner, fence, expires_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, \
             expires_at = excluded.expires_at",
            &[
                name.into(),
                lease.owner.as_str().into(),
                lease.fence.into(),
                lease.expires_at.into(),
            ],
        )
        .await
        .map(drop)
    }

    /// Moves the end of a lease; false when it is not held as `lease` says. From here on until this
    /// transaction ends nobody else can take it.
    pub(in crate::store) async fn renew_lease(
        &mut self,
        name: &str,
        lease: &LeaseRow,
    ) -> Result<bool, StoreError> {
        let statement =
            "UPDATE lease SET expires_at = $1 WHERE name = $2 AND owner = $3 AND fence = $4";
        let values =
            [lease.expires_at.into(), name.into(), lease.owner.as_str().into(), lease.fence.into()];
        Ok(self.done(statement, &values).await? == 1)
    }

    /// Takes a lease of a shared database that nobody else holds; returns its fence, which is greater
    /// than all before it. `None` when somebody holds it, or is just taking it.
    pub(in crate::store) async fn take_lease(
        &mut self,
        name: &str,
        owner: &str,
        seconds: i64,
    ) -> Result<Option<u64>, StoreError> {
        let now = self.clock().await?;
        let expires_at = now.saturating_add(seconds);
        // Without waiting: while its holder writes much, the row is locked.
        let longest = seconds.saturating_add(CLOCKS_SECONDS);
        let is_free = |row: &LeaseRow| row.owner == owner || !row.lasts(now, longest);
        match self.lease(name).await? {
            None => {
                let statement = "INSERT INTO lease (name, owner, fence, expires_at) \
                                 VALUES ($1, $2, 1, $3) ON CONFLICT DO NOTHING";
                let values = [name.into(), owner.into(), expires_at.into()];
                return Ok((self.done(statement, &values).await? == 1).then_some(1));
            }
            Some(row) if !is_free(&row) => return Ok(None),
            Some(_) => {}
        }
        let statement = "SELECT owner, fence, expires_at FROM lease WHERE name = $1 \
                         FOR UPDATE SKIP LOCKED";
        let locked = self.one(statement, &[name.into()]).await?.and_then(|row| lease(&row));
        let Some(row) = locked.filter(is_free) else { return Ok(None) };
        let fence = row.fence.saturating_add(1);
        self.put_lease(name, &LeaseRow { owner: owner.to_owned(), fence, expires_at }).await?;
        Ok(Some(fence))
    }

    /// Waits until nobody writes under a lease of a shared database; nobody does until this
    /// transaction ends.
    pub(in crate::store) async fn lock_lease(&mut self, name: &str) -> Result<(), StoreError> {
        let statement = "SELECT fence FROM lease WHERE name = $1 FOR UPDATE";
        self.all(statement, &[name.into()]).await.map(drop)
    }

    /// Returns whether anybody holds a lease.
    pub(super) async fn any_lease_lasts(&mut self, seconds: i64) -> Result<bool, StoreError> {
        let now = self.clock().await?;
        let rows = self.all("SELECT owner, fence, expires_at FROM lease", &[]).await?;
        let longest = seconds.saturating_add(CLOCKS_SECONDS);
        Ok(rows.iter().filter_map(lease).any(|row| row.lasts(now, longest)))
    }
}

fn lease(row: &Row) -> Option<LeaseRow> {
    let (owner, fence) = (row.text(0)?, row.number(1)?);
    Some(LeaseRow { owner, fence, expires_at: row.integer(2)? })
}
