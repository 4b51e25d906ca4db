//! The SQL of checkpoints: how far the archivist has come.

use eventlog::entry::Offset;

use crate::store::StoreError;
use crate::store::database::Transaction;
use crate::store::database::values::Row;
use crate::store::rows::Checkpoint;
use crate::views::Place;

const CHECKPOINT: &str = "SELECT revision, ledger, ledger_hash, row_count, row_sum, checksum \
                          FROM checkpoint WHERE reader = $1";

impl Transaction<'_> {
    pub(in crate::store) async fn delete_checkpoint(
        &mut self,
        reader: &str,
    ) -> Result<(), StoreError> {
        self.done("DELETE FROM checkpoint WHERE reader = $1", &[reader.into()]).await.map(drop)
    }

    /// Returns how far a reader has come: `None` when it never began, `Some(None)` when the row is
    /// not sound or of another revision.
    pub(in crate::store) async fn checkpoint(
        &mut self,
        (reader, revision): (&str, u32),
    ) -> Result<Option<Option<Checkpoint>>, StoreError> {
        let row = self.one(CHECKPOINT, &[reader.into()]).await?;
        let checkpoint = |row: Row| {
            let (found, checkpoint) = sound(reader, &row)?;
            (found == revision).then_some(checkpoint)
        };
        Ok(row.map(checkpoint))
    }

    /// Returns the revision of the rows that a reader has filed, when its checkpoint is sound.
    pub(in crate::store) async fn filed_revision(
        &mut self,
        reader: &str,
    ) -> Result<Option<u32>, StoreError> {
        let row = self.one(CHECKPOINT, &[reader.into()]).await?;
        Ok(row.and_then(|row| sound(reader, &row)).map(|(revision, _)| revision))
    }

    /// Moves a reader on from where it stood; false when it does not stand there.
    pub(in crate::store) async fn move_checkpoint(
        &mut self,
        (reader, revision): (&str, u32),
        from: Option<Checkpoint>,
        to: Checkpoint,
    ) -> Result<bool, StoreError> {
        let checksum = to.checksum(reader, revision);
        let mut values = vec![
            revision.into(),
            to.ledger.offset.into(),
            (&to.ledger.hash).into(),
            to.rows.into(),
            to.sum.into(),
            checksum.into(),
            reader.into(),
        ];
        let statement = match from {
            None => {
                "INSERT INTO checkpoint (revision, ledger, ledger_hash, row_count, row_sum, \
                 checksum, reader) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
            }
            Some(from) => {
                values.extend([from.ledger.offset.into(), from.rows.into(), from.sum.into()]);
                "UPDATE checkpoint SET revision = $1, ledger = $2, ledger_hash = $3, \
                 row_count = $4, row_sum = $5, checksum = $6 WHERE reader = $7 \
                 AND revision = $1 AND ledger = $8 AND row_count = $9 AND row_sum = $10"
            }
        };
        Ok(self.done(statement, &values).await? == 1)
    }
}

/// Reads a checkpoint with its revision; `None` when it is not sound.
fn sound(reader: &str, row: &Row) -> Option<(u32, Checkpoint)> {
    let revision = u32::try_from(row.integer(0)?).ok()?;
    let ledger = Place { offset: Offset(row.number(1)?), hash: row.hash(2)? };
    let checkpoint = Checkpoint { ledger, rows: row.number(3)?, sum: row.number(4)? };
    (row.number(5)? == checkpoint.checksum(reader, revision)).then_some((revision, checkpoint))
}
