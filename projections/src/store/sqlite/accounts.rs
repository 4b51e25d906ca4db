//! The SQL of what the archive holds of accounts.

use domain::account::position::PositionId;
use domain::name::AccountId;
use sqlx::sqlite::SqliteRow;

use crate::store::StoreError;
use crate::store::archive::Direction;
use crate::store::rows::{AccountKey, AccountKind, checksum_of_account_row, checksum_of_course};
use crate::store::sqlite::{Transaction, integer, number, text};

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
                 WHERE account = ? AND kind = ? AND place >= ? AND (place, name) < (?, ?) \
                 ORDER BY place, name LIMIT ?"
            }
            Direction::Backward => {
                "SELECT account, kind, place, name, body, checksum FROM account_archive \
                 WHERE account = ? AND kind = ? AND place >= ? AND (place, name) < (?, ?) \
                 ORDER BY place DESC, name DESC LIMIT ?"
            }
        };
        let rows = self
            .all(
                sqlx::query(statement)
                    .bind(account.as_str())
                    .bind(kind.as_str())
                    .bind(from)
                    .bind(until)
                    .bind(name)
                    .bind(i64::from(rows_max)),
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
                sqlx::query(
                    "SELECT account, kind, place, name, body, checksum FROM account_archive \
             WHERE account = ? AND kind = ? AND name = ?",
                )
                .bind(account.as_str())
                .bind(AccountKind::Closed.as_str())
                .bind(position.to_string()),
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
                sqlx::query(
                    "INSERT INTO account_archive (account, kind, place, name, body, checksum) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )
                .bind(account.as_str())
                .bind(kind)
                .bind(place)
                .bind(&name)
                .bind(body)
                .bind(checksum.cast_signed()),
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
                sqlx::query(
                    "SELECT account, kind, place, name, body, checksum FROM account_archive \
             WHERE (account, kind, place, name) > (?, ?, ?, ?) \
             ORDER BY account, kind, place, name LIMIT ?",
                )
                .bind(account)
                .bind(kind)
                .bind(place)
                .bind(name)
                .bind(i64::from(rows_max)),
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
                sqlx::query(
                    "SELECT account, position_id, course, checksum FROM course \
             WHERE account = ? AND position_id = ?",
                )
                .bind(account.as_str())
                .bind(position.to_string()),
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
                sqlx::query(
                    "SELECT account, position_id, course, checksum FROM course \
             WHERE (account, position_id) > (?, ?) ORDER BY account, position_id LIMIT ?",
                )
                .bind(account)
                .bind(position)
                .bind(i64::from(rows_max)),
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
            sqlx::query(
                "INSERT INTO course (account, position_id, course, checksum) VALUES (?, ?, ?, ?) \
             ON CONFLICT (account, position_id) DO UPDATE SET course = excluded.course, \
             checksum = excluded.checksum",
            )
            .bind(account.as_str())
            .bind(&name)
            .bind(course)
            .bind(checksum.cast_signed()),
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
            sqlx::query("DELETE FROM course WHERE account = ? AND position_id = ?")
                .bind(account.as_str())
                .bind(position.to_string()),
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
        self.run("DELETE FROM account_archive").await?;
        self.run("DELETE FROM course").await?;
        self.delete_checkpoint(reader).await
    }
}

fn account_row(row: &SqliteRow) -> Option<AccountRow> {
    let (account, kind, place) = (text(row, 0)?, text(row, 1)?, integer(row, 2)?);
    let (name, body, checksum) = (text(row, 3)?, text(row, 4)?, number(row, 5)?);
    let sound = checksum_of_account_row(&account, (&kind, place, &name), &body) == checksum;
    sound.then_some(AccountRow { account, kind, place, name, body, checksum })
}

fn course_row(row: &SqliteRow) -> Option<CourseRow> {
    let (account, position) = (text(row, 0)?, text(row, 1)?);
    let (course, checksum) = (text(row, 2)?, number(row, 3)?);
    let sound = checksum_of_course(&account, &position, &course) == checksum;
    sound.then_some(CourseRow { account, position, course, checksum })
}
