//! The SQL of states that are kept under names.

use eventlog::entry::Version;
use eventlog::keep::Kept;

use crate::store::StoreError;
use crate::store::database::Transaction;
use crate::store::database::values::Row;
use crate::store::rows::checksum_of_kept;

impl Transaction<'_> {
    /// Returns what is kept under a name; what is not sound is nothing.
    pub(in crate::store) async fn kept(&mut self, name: &str) -> Result<Option<Kept>, StoreError> {
        let statement = "SELECT revision, version, state, checksum FROM kept WHERE name = $1";
        let row = self.one(statement, &[name.into()]).await?;
        let kept = |row: Row| {
            let revision = u32::try_from(row.integer(0)?).ok()?;
            let version = Version(row.number(1)?);
            let kept = Kept { revision, version, state: row.bytes(2)? };
            (row.number(3)? == checksum_of_kept(name, &kept)).then_some(kept)
        };
        Ok(row.and_then(kept))
    }

    /// Keeps a state under a name, unless a later one of the same revision is kept there: another node
    /// may have been quicker.
    pub(in crate::store) async fn put_kept(
        &mut self,
        name: &str,
        kept: &Kept,
    ) -> Result<(), StoreError> {
        if self.is_shared() {
            let lock = "SELECT version FROM kept WHERE name = $1 FOR UPDATE";
            self.all(lock, &[name.into()]).await?;
        }
        if self.kept(name).await?.is_none() {
            // What is not sound must not seem to be later than anything.
            self.done("DELETE FROM kept WHERE name = $1", &[name.into()]).await?;
        }
        self.done(
            "INSERT INTO kept (name, revision, version, state, checksum) \
             VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, \
             version = excluded.version, state = excluded.state, checksum = excluded.checksum \
             WHERE kept.revision <> excluded.revision OR kept.version <= excluded.version",
            &[
                name.into(),
                kept.revision.into(),
                kept.version.into(),
                kept.state.as_slice().into(),
                checksum_of_kept(name, kept).into(),
            ],
        )
        .await
        .map(drop)
    }
}
