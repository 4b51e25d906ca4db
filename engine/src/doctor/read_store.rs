//! The read store: a cache, but one without which no house starts.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::doctor::finding::Finding;
use crate::read_store::ReadStoreUrl;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// What each file of `SQLite` begins with.
const BEGINNING: &[u8; 16] = b"SQLite format 3\0";

const ABOUT: &str = "read store";

pub(super) async fn look(url: &ReadStoreUrl) -> Finding {
    if let Some(file) = url.file() {
        return of_file(file);
    }
    let answer = timeout(PATIENCE, url.answers()).await;
    let why = match answer {
        Ok(Ok(())) => return Finding::ok(ABOUT, format!("{url}: it answers")),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("{url}: it does not answer within {} s", PATIENCE.as_secs()),
    };
    let advice = "see that PostgreSQL runs and can be reached from here, and postgres.password";
    Finding::problem(ABOUT, why, advice)
}

/// Looks at the first bytes alone: a house may be writing it.
fn of_file(file: &Path) -> Finding {
    let shown = file.display();
    let mut begins = [0; BEGINNING.len()];
    match File::open(file).and_then(|mut open| open.read_exact(&mut begins)) {
        Ok(()) if begins == *BEGINNING => {
            Finding::ok(ABOUT, format!("sqlite:{shown}: it is there"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::ok(ABOUT, format!("sqlite:{shown}: nothing yet, a start makes it"))
        }
        Ok(()) => damaged(file, "it is no database"),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => damaged(file, "it is cut off"),
        Err(error) => {
            let said = format!("sqlite:{shown}: {error}");
            Finding::problem(ABOUT, said, "let the user of the house read and write it")
        }
    }
}

fn damaged(file: &Path, what: &str) -> Finding {
    let said = format!("sqlite:{}: {what}", file.display());
    let advice = "nothing is lost: a start sets it aside and makes it anew from the logs";
    Finding::warning(ABOUT, said, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[tokio::test]
    async fn a_file_is_known_by_how_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("read.db");
        let looked = async || look(&ReadStoreUrl::in_folder(folder.path())).await;

        assert_eq!(looked().await.level, Level::Ok);
        assert!(!file.exists(), "looking makes nothing");
        std::fs::write(&file, "SQLite format 3\0and more").unwrap();
        assert_eq!(looked().await.level, Level::Ok);
        for other in ["short", "something else altogether"] {
            std::fs::write(&file, other).unwrap();
            let found = looked().await;
            assert_eq!(found.level, Level::Warning, "{found}");
        }
    }
}
