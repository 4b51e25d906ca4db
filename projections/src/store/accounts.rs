//! What the archivist files of accounts: the positions that they closed, and what they were worth day
//! by day.
//!
//! A position is filed once it has ended. Until then its course stands beside the archive, written in
//! the same transaction as the checkpoint: whoever goes on from there knows as much.

use domain::account::event::AccountEvent;
use domain::account::position::PositionId;
use domain::event::Event;
use domain::name::AccountId;
use eventlog::entry::Entry;
use serde::Serialize;

use super::archive::Section;
use super::database::Transaction;
use super::paging::Paging;
use super::rows::{AccountKey, Checkpoint};
use super::{Store, StoreError};
use crate::holdings::course::{Course, Turn};

/// Rows that are held against their checksums at once.
const CHECK_ROWS: u32 = 256;

/// Files what an entry tells of an account.
pub(super) async fn file(
    store: &Store,
    account: &AccountId,
    entry: &Entry,
    write: &mut Transaction<'_>,
    checkpoint: &mut Checkpoint,
) -> Result<(), StoreError> {
    let mut filing = Filing { store, account, entry, write, checkpoint };
    for event in &entry.events {
        let Event::Account(event) = event else { continue };
        match Turn::of(event) {
            Some((id, turn)) => filing.turn(id, turn, event).await?,
            None => {
                if let AccountEvent::DayClosed(day) = event {
                    filing.add(&AccountKey::Day(day.day), day).await?;
                }
            }
        }
    }
    Ok(())
}

/// One entry of an account while it is filed.
struct Filing<'a, 'w> {
    store: &'a Store,
    account: &'a AccountId,
    entry: &'a Entry,
    write: &'a mut Transaction<'w>,
    checkpoint: &'a mut Checkpoint,
}

impl Filing<'_, '_> {
    /// Takes in what happened to a position.
    async fn turn(
        &mut self,
        id: PositionId,
        turn: Turn<'_>,
        event: &AccountEvent,
    ) -> Result<(), StoreError> {
        if let Turn::Begins(opened) = turn {
            return self.put(id, &Course::begin(opened, self.entry)).await;
        }
        // Without its course, which a check then misses, nothing can be said of it.
        let Some(mut course) = self.take(id).await? else { return Ok(()) };
        match turn {
            Turn::Begins(_) => Ok(()),
            Turn::GoesOn => {
                course.take(event, self.entry);
                self.put(id, &course).await
            }
            Turn::Ends(exited, end) => {
                self.write.delete_course(self.account, id).await?;
                let closed = course.end(exited, end, self.entry);
                self.add(&AccountKey::Closed(self.entry.version, id), &closed).await
            }
        }
    }

    /// Returns the course of a position, which is counted no more.
    async fn take(&mut self, id: PositionId) -> Result<Option<Course>, StoreError> {
        let Some(row) = self.write.course(self.account, id).await? else { return Ok(None) };
        let course = row.and_then(|row| {
            let course = serde_json::from_str(&row.course).ok()?;
            Some((course, row.checksum))
        });
        let Some((course, checksum)) = course else {
            self.store.suspect_archive(Section::Accounts);
            let reason = format!("what the archive knows of {id} is not sound");
            return Err(StoreError::Unreachable(reason));
        };
        self.checkpoint.remove(checksum);
        Ok(Some(course))
    }

    async fn put(&mut self, id: PositionId, course: &Course) -> Result<(), StoreError> {
        let checksum = self.write.put_course(self.account, id, &text(course)?).await?;
        self.checkpoint.add(checksum);
        Ok(())
    }

    /// Adds a row to the account's archive, unless it is there.
    async fn add(&mut self, key: &AccountKey, body: &impl Serialize) -> Result<(), StoreError> {
        let filed = self.write.insert_account_row(self.account, key, &text(body)?).await?;
        if let Some(checksum) = filed {
            self.checkpoint.add(checksum);
        }
        Ok(())
    }
}

fn text(body: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(body).map_err(|error| StoreError::Unreachable(error.to_string()))
}

/// Returns how many rows of accounts there are and the sum of their checksums; `None` when one is not
/// sound.
pub(super) async fn total(paging: &mut Paging<'_>) -> Result<Option<(u64, u64)>, StoreError> {
    let mut total = Checkpoint::default();
    let (mut row, mut course) = (None, None);
    loop {
        let rows = paging.page().await?.account_rows_after(row.as_ref(), CHECK_ROWS).await?;
        let Some(rows) = rows else { return Ok(None) };
        for row in &rows {
            total.add(row.checksum);
        }
        row = rows.into_iter().next_back();
        if row.is_none() {
            break;
        }
    }
    loop {
        let courses = paging.page().await?.courses_after(course.as_ref(), CHECK_ROWS).await?;
        let Some(courses) = courses else { return Ok(None) };
        for course in &courses {
            total.add(course.checksum);
        }
        course = courses.into_iter().next_back();
        if course.is_none() {
            return Ok(Some((total.rows, total.sum)));
        }
    }
}
