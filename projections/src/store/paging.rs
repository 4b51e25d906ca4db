//! Reading so much that it comes in pages.

use super::StoreError;
use super::database::{Database, Transaction};

/// Pages of one database.
pub(super) struct Paging<'a> {
    database: &'a Database,
    open: Option<Transaction<'a>>,
}

impl<'a> Paging<'a> {
    pub(super) const fn of(database: &'a Database) -> Self {
        Self { database, open: None }
    }

    /// Returns what the next page is read in: of a file a transaction of its own, so that the
    /// write-ahead file does not grow meanwhile; of a server, where others write, one for all pages.
    pub(super) async fn page(&mut self) -> Result<&mut Transaction<'a>, StoreError> {
        let open = match self.open.take() {
            Some(open) if self.database.is_shared() => open,
            open => {
                if let Some(open) = open {
                    open.roll_back().await?;
                }
                self.database.read_long().await?
            }
        };
        Ok(self.open.insert(open))
    }

    pub(super) async fn end(self) -> Result<(), StoreError> {
        match self.open {
            Some(open) => open.roll_back().await,
            None => Ok(()),
        }
    }
}
