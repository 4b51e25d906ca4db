//! The SQL of snapshots: cuts and parts.

use domain::time::Timestamp;
use eventlog::entry::Offset;
use sqlx::sqlite::SqliteRow;

use crate::store::StoreError;
use crate::store::rows::KeptCut;
use crate::store::sqlite::{Transaction, bytes, hash, integer, number, text, timestamp};
use crate::views::{Cut, Place};

/// A view's newest cut as it stands, sound or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Newest {
    pub(in crate::store) number: u64,
    pub(in crate::store) ledger: Offset,
    pub(in crate::store) market: Offset,
}

impl Newest {
    pub(in crate::store) fn of(number: u64, cut: Cut) -> Self {
        Self { number, ledger: cut.ledger.offset, market: cut.market.offset }
    }
}

impl Transaction<'_> {
    /// Returns all cuts of a view at a revision, newest first; those that are not sound are left
    /// out.
    pub(in crate::store) async fn cuts(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<Vec<KeptCut>, StoreError> {
        let rows = self.all(sqlx::query(
            "SELECT view, revision, number, taken_at, ledger, ledger_hash, market, market_hash, \
             state_hash, checksum FROM cut WHERE view = ? AND revision = ? ORDER BY number DESC",
        )
        .bind(view)
        .bind(i64::from(revision))
        ).await?;
        Ok(rows.iter().filter_map(kept_cut).collect())
    }

    /// Returns number and time of all cuts of a view at a revision, oldest first, sound or not.
    pub(in crate::store) async fn cut_times(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<Vec<(u64, Timestamp)>, StoreError> {
        let rows = self.all(sqlx::query(
            "SELECT number, taken_at FROM cut WHERE view = ? AND revision = ? ORDER BY number",
        )
        .bind(view)
        .bind(i64::from(revision))
        ).await?;
        // A time that does not read is as good as the oldest.
        let time = |row| timestamp(row, 1).unwrap_or(Timestamp::MIN);
        Ok(rows.iter().filter_map(|row| Some((number(row, 0)?, time(row)))).collect())
    }

    /// Returns the newest cut of a view at a revision, sound or not; `None` also when it does not
    /// read.
    pub(in crate::store) async fn newest(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<Option<Newest>, StoreError> {
        let row = self
            .one(
                sqlx::query(
                    "SELECT number, ledger, market FROM cut WHERE view = ? AND revision = ? \
             ORDER BY number DESC LIMIT 1",
                )
                .bind(view)
                .bind(i64::from(revision)),
            )
            .await?;
        let newest = |row: SqliteRow| {
            let (ledger, market) = (Offset(number(&row, 1)?), Offset(number(&row, 2)?));
            Some(Newest { number: number(&row, 0)?, ledger, market })
        };
        Ok(row.and_then(newest))
    }

    /// Returns the newest cut of a view at each revision but one, as far as it reads.
    pub(in crate::store) async fn newest_of_others(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<Vec<(u32, Newest)>, StoreError> {
        let rows = self
            .all(
                sqlx::query(
                    "SELECT revision, number, ledger, market FROM cut \
             WHERE view = ? AND revision <> ? AND number = (SELECT MAX(number) FROM cut other \
             WHERE other.view = cut.view AND other.revision = cut.revision)",
                )
                .bind(view)
                .bind(i64::from(revision)),
            )
            .await?;
        let newest = |row: &SqliteRow| {
            let (ledger, market) = (Offset(number(row, 2)?), Offset(number(row, 3)?));
            let revision = u32::try_from(integer(row, 0)?).ok()?;
            Some((revision, Newest { number: number(row, 1)?, ledger, market }))
        };
        Ok(rows.iter().filter_map(newest).collect())
    }

    /// Returns the parts of a view as they were at a cut; `None` when one does not read.
    pub(in crate::store) async fn parts(
        &mut self,
        cut: &KeptCut,
    ) -> Result<Option<Vec<(String, Vec<u8>)>>, StoreError> {
        let rows = self.all(sqlx::query(
            "SELECT part.name, part.state FROM part JOIN (SELECT name, MAX(number) AS number \
             FROM part WHERE view = ? AND revision = ? AND number <= ? GROUP BY name) newest \
             ON part.view = ? AND part.revision = ? AND part.name = newest.name \
             AND part.number = newest.number WHERE part.state IS NOT NULL",
        )
        .bind(&cut.view)
        .bind(i64::from(cut.revision))
        .bind(cut.number.cast_signed())
        .bind(&cut.view)
        .bind(i64::from(cut.revision))
        ).await?;
        Ok(rows.iter().map(|row| Some((text(row, 0)?, bytes(row, 1)?))).collect())
    }

    pub(in crate::store) async fn insert_cut(&mut self, cut: &KeptCut) -> Result<(), StoreError> {
        self.done(
            sqlx::query(
                "INSERT INTO cut (view, revision, number, taken_at, ledger, ledger_hash, market, \
             market_hash, state_hash, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&cut.view)
            .bind(i64::from(cut.revision))
            .bind(cut.number.cast_signed())
            .bind(cut.taken_at.micros())
            .bind(cut.cut.ledger.offset.0.cast_signed())
            .bind(cut.cut.ledger.hash.0.as_slice())
            .bind(cut.cut.market.offset.0.cast_signed())
            .bind(cut.cut.market.hash.0.as_slice())
            .bind(cut.state_hash.0.as_slice())
            .bind(cut.checksum().cast_signed()),
        )
        .await
        .map(drop)
    }

    pub(in crate::store) async fn insert_part(
        &mut self,
        (view, revision): (&str, u32),
        number: u64,
        name: &str,
        state: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.done(
            sqlx::query(
                "INSERT INTO part (view, revision, name, number, state) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(view)
            .bind(i64::from(revision))
            .bind(name)
            .bind(number.cast_signed())
            .bind(state),
        )
        .await
        .map(drop)
    }

    /// Deletes the cuts of a view past a number, and what was written for them.
    pub(in crate::store) async fn delete_after(
        &mut self,
        view: &str,
        revision: u32,
        number: u64,
    ) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM cut WHERE view = ? AND revision = ? AND number > ?",
            "DELETE FROM part WHERE view = ? AND revision = ? AND number > ?",
        ] {
            self.done(
                sqlx::query(statement)
                    .bind(view)
                    .bind(i64::from(revision))
                    .bind(number.cast_signed()),
            )
            .await?;
        }
        Ok(())
    }

    /// Deletes the cuts of a view between two that stay, and the parts that only they needed.
    pub(in crate::store) async fn delete_between(
        &mut self,
        view: &str,
        revision: u32,
        (before, after): (u64, u64),
    ) -> Result<(), StoreError> {
        self.done(
            sqlx::query(
                "DELETE FROM cut WHERE view = ? AND revision = ? AND number > ? AND number < ?",
            )
            .bind(view)
            .bind(i64::from(revision))
            .bind(before.cast_signed())
            .bind(after.cast_signed()),
        )
        .await?;
        self.done(
            sqlx::query(
                "DELETE FROM part WHERE view = ? AND revision = ? AND number > ? AND number < ? \
             AND EXISTS (SELECT 1 FROM part later WHERE later.view = part.view \
             AND later.revision = part.revision AND later.name = part.name \
             AND later.number > part.number AND later.number <= ?)",
            )
            .bind(view)
            .bind(i64::from(revision))
            .bind(before.cast_signed())
            .bind(after.cast_signed())
            .bind(after.cast_signed()),
        )
        .await
        .map(drop)
    }

    /// Deletes the word that a part has gone where nothing is left of the part itself.
    pub(in crate::store) async fn delete_gone(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<(), StoreError> {
        self.done(
            sqlx::query(
                "DELETE FROM part WHERE view = ? AND revision = ? AND state IS NULL \
             AND NOT EXISTS (SELECT 1 FROM part earlier WHERE earlier.view = part.view \
             AND earlier.revision = part.revision AND earlier.name = part.name \
             AND earlier.number < part.number)",
            )
            .bind(view)
            .bind(i64::from(revision)),
        )
        .await
        .map(drop)
    }

    /// Deletes all that is held of a view at a revision.
    pub(in crate::store) async fn delete_revision(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM cut WHERE view = ? AND revision = ?",
            "DELETE FROM part WHERE view = ? AND revision = ?",
        ] {
            self.done(sqlx::query(statement).bind(view).bind(i64::from(revision))).await?;
        }
        Ok(())
    }
}

fn kept_cut(row: &SqliteRow) -> Option<KeptCut> {
    let ledger = Place { offset: Offset(number(row, 4)?), hash: hash(row, 5)? };
    let market = Place { offset: Offset(number(row, 6)?), hash: hash(row, 7)? };
    let cut = KeptCut {
        view: text(row, 0)?,
        revision: u32::try_from(integer(row, 1)?).ok()?,
        number: number(row, 2)?,
        taken_at: timestamp(row, 3)?,
        cut: Cut { ledger, market },
        state_hash: hash(row, 8)?,
    };
    (cut.checksum() == number(row, 9)?).then_some(cut)
}
