//! The SQL of snapshots: cuts and parts.

use domain::time::Timestamp;
use eventlog::entry::Offset;

use crate::store::StoreError;
use crate::store::database::Transaction;
use crate::store::database::values::{Row, Value};
use crate::store::rows::KeptCut;
use crate::views::{Cut, Place};

/// Parts that a statement adds to a server at once.
const PARTS_AT_ONCE: usize = 128;

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
        let rows = self.all("SELECT view, revision, number, taken_at, ledger, ledger_hash, market, market_hash, \
             state_hash, checksum FROM cut WHERE view = $1 AND revision = $2 ORDER BY number DESC", &[view.into(), revision.into()]
        ).await?;
        Ok(rows.iter().filter_map(kept_cut).collect())
    }

    /// Returns number and time of all cuts of a view at a revision, oldest first, sound or not.
    pub(in crate::store) async fn cut_times(
        &mut self,
        view: &str,
        revision: u32,
    ) -> Result<Vec<(u64, Timestamp)>, StoreError> {
        let rows = self.all("SELECT number, taken_at FROM cut WHERE view = $1 AND revision = $2 ORDER BY number", &[view.into(), revision.into()]
        ).await?;
        // A time that does not read is as good as the oldest.
        let time = |row: &Row| row.timestamp(1).unwrap_or(Timestamp::MIN);
        Ok(rows.iter().filter_map(|row| Some((row.number(0)?, time(row)))).collect())
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
                "SELECT number, ledger, market FROM cut WHERE view = $1 AND revision = $2 \
             ORDER BY number DESC LIMIT 1",
                &[view.into(), revision.into()],
            )
            .await?;
        let newest = |row: Row| {
            let (ledger, market) = (Offset(row.number(1)?), Offset(row.number(2)?));
            Some(Newest { number: row.number(0)?, ledger, market })
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
                "SELECT revision, number, ledger, market FROM cut \
             WHERE view = $1 AND revision <> $2 AND number = (SELECT MAX(number) FROM cut other \
             WHERE other.view = cut.view AND other.revision = cut.revision)",
                &[view.into(), revision.into()],
            )
            .await?;
        let newest = |row: &Row| {
            let (ledger, market) = (Offset(row.number(2)?), Offset(row.number(3)?));
            let revision = u32::try_from(row.integer(0)?).ok()?;
            Some((revision, Newest { number: row.number(1)?, ledger, market }))
        };
        Ok(rows.iter().filter_map(newest).collect())
    }

    /// Returns the parts of a view as they were at a cut; `None` when one does not read.
    pub(in crate::store) async fn parts(
        &mut self,
        cut: &KeptCut,
    ) -> Result<Option<Vec<(String, Vec<u8>)>>, StoreError> {
        let rows = self
            .all(
                "SELECT part.name, part.state FROM part JOIN (SELECT name, MAX(number) AS number \
             FROM part WHERE view = $1 AND revision = $2 AND number <= $3 GROUP BY name) newest \
             ON part.view = $4 AND part.revision = $5 AND part.name = newest.name \
             AND part.number = newest.number WHERE part.state IS NOT NULL",
                &[
                    cut.view.as_str().into(),
                    cut.revision.into(),
                    cut.number.into(),
                    cut.view.as_str().into(),
                    cut.revision.into(),
                ],
            )
            .await?;
        Ok(rows.iter().map(|row| Some((row.text(0)?, row.bytes(1)?))).collect())
    }

    pub(in crate::store) async fn insert_cut(&mut self, cut: &KeptCut) -> Result<(), StoreError> {
        self.done(
            "INSERT INTO cut (view, revision, number, taken_at, ledger, ledger_hash, market, \
             market_hash, state_hash, checksum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                cut.view.as_str().into(),
                cut.revision.into(),
                cut.number.into(),
                cut.taken_at.into(),
                cut.cut.ledger.offset.into(),
                (&cut.cut.ledger.hash).into(),
                cut.cut.market.offset.into(),
                (&cut.cut.market.hash).into(),
                (&cut.state_hash).into(),
                cut.checksum().into(),
            ],
        )
        .await
        .map(drop)
    }

    /// Adds what parts are from a cut on; without state those that have gone.
    pub(in crate::store) async fn insert_parts(
        &mut self,
        (view, revision): (&str, u32),
        number: u64,
        parts: &[(&str, Option<&[u8]>)],
    ) -> Result<(), StoreError> {
        if !self.is_shared() {
            for (name, state) in parts {
                self.insert_part((view, revision), number, name, *state).await?;
            }
            return Ok(());
        }
        // A server is far away: as many at once as a statement may well hold.
        for some in parts.chunks(PARTS_AT_ONCE) {
            let names = some.iter().map(|(name, _)| *name).collect();
            let states = some.iter().map(|(_, state)| *state).collect();
            self.done(
                "INSERT INTO part (view, revision, number, name, state) \
                 SELECT $1, $2, $3, * FROM unnest($4::text[], $5::bytea[])",
                &[
                    view.into(),
                    revision.into(),
                    number.into(),
                    Value::ManyTexts(names),
                    Value::ManyBytes(states),
                ],
            )
            .await?;
        }
        Ok(())
    }

    async fn insert_part(
        &mut self,
        (view, revision): (&str, u32),
        number: u64,
        name: &str,
        state: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.done(
            "INSERT INTO part (view, revision, name, number, state) VALUES ($1, $2, $3, $4, $5)",
            &[view.into(), revision.into(), name.into(), number.into(), state.into()],
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
            "DELETE FROM cut WHERE view = $1 AND revision = $2 AND number > $3",
            "DELETE FROM part WHERE view = $1 AND revision = $2 AND number > $3",
        ] {
            self.done(statement, &[view.into(), revision.into(), number.into()]).await?;
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
            "DELETE FROM cut WHERE view = $1 AND revision = $2 AND number > $3 AND number < $4",
            &[view.into(), revision.into(), before.into(), after.into()],
        )
        .await?;
        self.done(
            "DELETE FROM part WHERE view = $1 AND revision = $2 AND number > $3 AND number < $4 \
             AND EXISTS (SELECT 1 FROM part later WHERE later.view = part.view \
             AND later.revision = part.revision AND later.name = part.name \
             AND later.number > part.number AND later.number <= $5)",
            &[view.into(), revision.into(), before.into(), after.into(), after.into()],
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
            "DELETE FROM part WHERE view = $1 AND revision = $2 AND state IS NULL \
             AND NOT EXISTS (SELECT 1 FROM part earlier WHERE earlier.view = part.view \
             AND earlier.revision = part.revision AND earlier.name = part.name \
             AND earlier.number < part.number)",
            &[view.into(), revision.into()],
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
            "DELETE FROM cut WHERE view = $1 AND revision = $2",
            "DELETE FROM part WHERE view = $1 AND revision = $2",
        ] {
            self.done(statement, &[view.into(), revision.into()]).await?;
        }
        Ok(())
    }
}

fn kept_cut(row: &Row) -> Option<KeptCut> {
    let ledger = Place { offset: Offset(row.number(4)?), hash: row.hash(5)? };
    let market = Place { offset: Offset(row.number(6)?), hash: row.hash(7)? };
    let cut = KeptCut {
        view: row.text(0)?,
        revision: u32::try_from(row.integer(1)?).ok()?,
        number: row.number(2)?,
        taken_at: row.timestamp(3)?,
        cut: Cut { ledger, market },
        state_hash: row.hash(8)?,
    };
    (cut.checksum() == row.number(9)?).then_some(cut)
}
