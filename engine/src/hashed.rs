//! Bytes that are hashed on their way.

use std::io::{self, Read, Write};

use eventlog::entry::Hash;
use sha2::{Digest, Sha256};

/// Bytes that are in memory at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Pours all of one into the other; returns how much it was, and its SHA-256.
pub(crate) fn pour(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, Hash)> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut bytes, mut digest) = (0, Sha256::new());
    loop {
        let read = from.read(&mut chunk)?;
        let read = chunk.get(..read).unwrap_or_default();
        if read.is_empty() {
            return Ok((bytes, Hash(digest.finalize().into())));
        }
        digest.update(read);
        to.write_all(read)?;
        bytes += read.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_poured_and_hashed() {
        for length in [0, 1, CHUNK_BYTES, CHUNK_BYTES * 2 + 7] {
            let bytes: Vec<u8> =
                (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect();
            let mut out = Vec::new();

            let poured = pour(&mut bytes.as_slice(), &mut out).unwrap();

            assert_eq!(poured, (length as u64, Hash::of(&bytes)));
            assert_eq!(out, bytes);
        }
    }
}
