//! The SQL of what the archive holds of accounts.

use domain::account::position::PositionId;
use domain::name::AccountId;

use crate::store::StoreError;
use crate::store::archive::Direction;
use crate::store::database::Transaction;
use crate::store::database::values::Row;
use crate::store::rows::{AccountKey, AccountKind, checksum_of_account_row, checksum_of_course};

/// A row of an account's archive, sound.
pub(in crate::store) struct AccountRow {
    pub(in crate::store) account: String,
    pub(in crate::store) kind: String,
    pub(in crate::store) place: i64,
    pub(in crate::store) name: String,
    pub(in crate::store) body: String,
    pub(in crate::store) checksum: u64,
}

/// What is known of a position that is open, sound.
pub(in crate::store) struct CourseRow {
    pub(in crate::store) account: String,
    pub(in crate::store) position: String,
    pub(in crate::store) course: String,
    pub(in crate::store) checksum: u64,
}

impl Transaction<'_> {
    /// Returns up to `rows_max` rows of a kind of an account, from a place on and before a place
    /// and name: the first or the last, in that order. `None` when a row is not sound.
    pub(in crate::store) async fn account_rows(
        &mut self,
        (account, kind): (&AccountId, AccountKind),
        (from, (until, name)): (i64, (i64, &str)),
        direction: Direction,
        rows_max: u32,
    ) -> Result<Option<Vec<AccountRow>>, StoreError> {
        let statement = match direction {
            Direction::Forward => {
                "SELECT account, kind, place, name, body, checksum FROM account_archive \
                 WHERE account = $1 AND kind = $2 AND place >= $3 AND (place, name) < ($4, $5) \
                 ORDER BY place, name LIMIT $6"
            }
            Direction::Backward => {
                "SELECT account, kind, place, name, body, checksum FROM account_archive \
                 WHERE account = $1 AND kind = $2 AND place >= $3 AND (place, name) < ($4, $5) \
                 ORDER BY place DESC, name DESC LIMIT $6"
            }
        };
        let rows = self
            .all(
                statement,
                &[
                    account.as_str().into(),
                    kind.as_str().into(),
                    from.into(),
                    until.into(),
                    name.into(),
                    rows_max.into(),
                ],
            )
            .await?;
        Ok(rows.iter().map(account_row).collect())
    }

    /// Returns the row of an account's closed position; `None` when there is none, `Some(None)`
    /// when it is not sound.
    pub(in crate::store) async fn closed_position(
        &mut self,
        account: &AccountId,
        position: PositionId,
    ) -> Result<Option<Option<AccountRow>>, StoreError> {
        let row = self
            .one(
                "SELECT account, kind, place, name, body, checksum FROM account_archive \
             WHERE account = $1 AND kind = $2 AND name = $3",
                &[
                    account.as_str().into(),
                    AccountKind::Closed.as_str().into(),
                    position.to_string().into(),
                ],
            )
            .await?;
        Ok(row.map(|row| account_row(&row)))
    }

    /// Adds a row to an account's archive; returns its checksum, or `None` when it is there already.
    pub(in crate::store) async fn insert_account_row(
        &mut self,
        account: &AccountId,
        key: &AccountKey,
        body: &str,
    ) -> Result<Option<u64>, StoreError> {
        let (kind, place, name) = (key.kind().as_str(), key.place(), key.name());
        let checksum = checksum_of_account_row(account.as_str(), (kind, place, &name), body);
        let added = self
            .done(
                "INSERT INTO account_archive (account, kind, place, name, body, checksum) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                &[
                    account.as_str().into(),
                    kind.into(),
                    place.into(),
                    name.as_str().into(),
                    body.into(),
                    checksum.into(),
                ],
            )
            .await?;
        Ok((added > 0).then_some(checksum))
    }

    /// Returns up to `rows_max` rows of all accounts after one, in order of account, kind, place and
    /// name. `None` when one is not sound.
    pub(in crate::store) async fn account_rows_after(
        &mut self,
        after: Option<&AccountRow>,
        rows_max: u32,
    ) -> Result<Option<Vec<AccountRow>>, StoreError> {
        let (account, kind, place, name) = after
            .map_or(("", "", i64::MIN, ""), |row| (&row.account, &row.kind, row.place, &row.name));
        let rows = self
            .all(
                "SELECT account, kind, place, name, body, checksum FROM account_archive \
             WHERE (account, kind, place, name) > ($1, $2, $3, $4) \
             ORDER BY account, kind, place, name LIMIT $5",
                &[account.into(), kind.into(), place.into(), name.into(), rows_max.into()],
            )
            .await?;
        Ok(rows.iter().map(account_row).collect())
    }

    /// Returns the course of an open position; `None` when there is none, `Some(None)` when it is
    /// not sound.
    pub(in crate::store) async fn course(
        &mut self,
        account: &AccountId,
        position: PositionId,
    ) -> Result<Option<Option<CourseRow>>, StoreError> {
        let row = self
            .one(
                "SELECT account, position_id, course, checksum FROM course \
             WHERE account = $1 AND position_id = $2",
                &[account.as_str().into(), position.to_string().into()],
            )
            .await?;
        Ok(row.map(|row| course_row(&row)))
    }

    /// Returns up to `rows_max` courses of all accounts after one, in order of account and position.
    /// `None` when one is not sound.
    pub(in crate::store) async fn courses_after(
        &mut self,
        after: Option<&CourseRow>,
        rows_max: u32,
    ) -> Result<Option<Vec<CourseRow>>, StoreError> {
        let (account, position) = after.map_or(("", ""), |row| (&row.account, &row.position));
        let rows = self
            .all(
                "SELECT account, position_id, course, checksum FROM course \
             WHERE (account, position_id) > ($1, $2) ORDER BY account, position_id LIMIT $3",
                &[account.into(), position.into(), rows_max.into()],
            )
            .await?;
        Ok(rows.iter().map(course_row).collect())
    }

    /// Puts the course of an open position in the place of what was known before; returns its
    /// checksum.
    pub(in crate::store) async fn put_course(
        &mut self,
        account: &AccountId,
        position: PositionId,
        course: &str,
    ) -> Result<u64, StoreError> {
        let name = position.to_string();
        let checksum = checksum_of_course(account.as_str(), &name, course);
        self.done(
            "INSERT INTO course (account, position_id, course, checksum) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account, position_id) DO UPDATE SET course = excluded.course, \
             checksum = excluded.checksum",
            &[account.as_str().into(), name.as_str().into(), course.into(), checksum.into()],
        )
        .await?;
        Ok(checksum)
    }

    pub(in crate::store) async fn delete_course(
        &mut self,
        account: &AccountId,
        position: PositionId,
    ) -> Result<(), StoreError> {
        self.done(
            "DELETE FROM course WHERE account = $1 AND position_id = $2",
            &[account.as_str().into(), position.to_string().into()],
        )
        .await
        .map(drop)
    }

    /// The same of what the archive holds of accounts.
    pub(in crate::store) async fn accounts_agree(&mut self) -> Result<bool, StoreError> {
        Ok(self.is_ok("PRAGMA integrity_check(account_archive)").await?
            && self.is_ok("PRAGMA integrity_check(course)").await?)
    }

    /// Deletes all that the archive holds of accounts and how far it had come.
    pub(in crate::store) async fn empty_accounts(
        &mut self,
        reader: &str,
    ) -> Result<(), StoreError> {
        self.script("DELETE FROM account_archive").await?;
        self.script("DELETE FROM course").await?;
        self.delete_checkpoint(reader).await
    }
}

fn account_row(row: &Row) -> Option<AccountRow> {
    let (account, kind, place) = (row.text(0)?, row.text(1)?, row.integer(2)?);
    let (name, body, checksum) = (row.text(3)?, row.text(4)?, row.number(5)?);
    let sound = checksum_of_account_row(&account, (&kind, place, &name), &body) == checksum;
    sound.then_some(AccountRow { account, kind, place, name, body, checksum })
}

fn course_row(row: &Row) -> Option<CourseRow> {
    let (account, position) = (row.text(0)?, row.text(1)?);
    let (course, checksum) = (row.text(2)?, row.number(3)?);
    let sound = checksum_of_course(&account, &position, &course) == checksum;
    sound.then_some(CourseRow { account, position, course, checksum })
}
