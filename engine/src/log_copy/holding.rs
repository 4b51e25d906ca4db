//! What a log holds, so that two logs can be compared: each stream's versions and hashes, and one hash
//! over all of it in the order of the log.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use eventlog::entry::{Hash, Version};
use eventlog::header::Header;
use eventlog::stream::Stream;
use sha2::{Digest, Sha256};

/// The entries of a stream that a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Retention may have dropped those before.
    pub(crate) first: Version,
    pub(crate) last: Version,
    /// Of the last.
    pub(crate) hash: Hash,
}

/// What was seen of a log so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holding {
    pub(crate) spans: BTreeMap<Stream, Span>,
    pub(crate) entries: u64,
    all: Sha256,
}

impl Holding {
    /// Takes in the next entry of the log; it must continue its stream.
    pub(crate) fn take(&mut self, header: &Header, hash: Hash) -> Result<()> {
        let Header { stream, version, prev_hash, .. } = header;
        match self.spans.get_mut(stream) {
            None => {
                let span = Span { first: *version, last: *version, hash };
                self.spans.insert(stream.clone(), span);
            }
            Some(span) => {
                let before = span.last;
                ensure!(
                    (*version, *prev_hash) == (before.next(), span.hash),
                    "version {version} of {stream} does not follow version {before}"
                );
                (span.last, span.hash) = (*version, hash);
            }
        }
        self.all.update(format!("{stream} {version} {hash}\n"));
        self.entries += 1;
        Ok(())
    }

    /// Whether an entry is one of those that were seen.
    pub(crate) fn has(&self, header: &Header) -> bool {
        let span = self.spans.get(&header.stream);
        span.is_some_and(|span| (span.first..=span.last).contains(&header.version))
    }

    /// Returns the hash over stream, version and hash of each entry, in order: one line each, as
    /// `account-alice 3 5f0c…`.
    pub(crate) fn hash(&self) -> Hash {
        Hash(self.all.clone().finalize().into())
    }

    /// Says what a copy lacks or has otherwise, if anything.
    pub(crate) fn check(&self, copy: &Self) -> Result<()> {
        for (stream, span) in &self.spans {
            let Span { first, last, hash } = span;
            match copy.spans.get(stream) {
                None => bail!("the copy has nothing of {stream}"),
                Some(found) if found == span => {}
                Some(found) if found.hash == *hash || found.last != *last => bail!(
                    "the copy has versions {} to {} of {stream}, and not {first} to {last}",
                    found.first,
                    found.last
                ),
                Some(found) => bail!(
                    "version {last} of {stream} has the hash {} in the copy, and not {hash}",
                    found.hash
                ),
            }
        }
        ensure!(
            self.hash() == copy.hash(),
            "the copy has the same entries in another order: {} in place of {}",
            copy.hash(),
            self.hash()
        );
        Ok(())
    }
}
