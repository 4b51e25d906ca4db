//! The lines of recorded files, one after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::vec;

use domain::time::Timestamp;
use flate2::read::MultiGzDecoder;

use crate::recording::RecordingError;

/// The longest line, in bytes. What is longer comes in pieces, each of which is malformed.
pub const LINE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes that are read from a file, or unpacked, at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads the lines of several files in order.
pub struct Lines {
    waiting: vec::IntoIter<(PathBuf, File)>,
    open: Option<OpenFile>,
    line: Vec<u8>,
}

struct OpenFile {
    path: PathBuf,
    text: Box<dyn BufRead + Send>,
    /// Lines read so far.
    number: u64,
}

/// A line as it stands in its file, without its end.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub file: &'a Path,
    /// Counted from 1 in each file.
    pub number: u64,
    pub bytes: &'a [u8],
}

impl Lines {
    /// Opens all files at once, so that a wrong name is told before anything is played.
    pub fn open(files: Vec<PathBuf>) -> Result<Self, RecordingError> {
        let open = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(RecordingError::Missing { file: path, source }),
        };
        let files: Vec<_> = files.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { waiting: files.into_iter(), open: None, line: Vec::new() })
    }

    /// Returns the next line, or `None` after the last line of the last file.
    ///
    /// Not an `Iterator`: a line is lent until the next is read.
    pub fn read(&mut self) -> Result<Option<Line<'_>>, RecordingError> {
        while self.open.is_some() || self.open_next() {
            if let Some(file) = &mut self.open {
                if file.read(&mut self.line)? {
                    break;
                }
                self.open = None;
            }
        }
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(self.open.as_ref().map(|file| Line { file: &file.path, number: file.number, bytes }))
    }

    fn open_next(&mut self) -> bool {
        self.open = self.waiting.next().map(|(path, file)| {
            let text: Box<dyn BufRead + Send> = if path.extension().is_some_and(|end| end == "gz") {
                Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)))
            } else {
                Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
            };
            OpenFile { path, text, number: 0 }
        });
        self.open.is_some()
    }
}

impl OpenFile {
    fn read(&mut self, line: &mut Vec<u8>) -> Result<bool, RecordingError> {
        line.clear();
        let read = self.text.as_mut().take(LINE_BYTES_MAX).read_until(b'\n', line);
        self.number += 1;
        match read {
            Ok(bytes) => Ok(bytes > 0),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    fn unreadable(&self, source: io::Error) -> RecordingError {
        RecordingError::Unreadable { file: self.path.clone(), line: self.number, source }
    }
}

impl<'a> Line<'a> {
    /// Returns the receive time, cut to microseconds, and the frame, or `None` where the line
    /// does not start with nanoseconds and a space.
    pub fn parts(&self) -> Option<(Timestamp, &'a [u8])> {
        let space = self.bytes.iter().position(|byte| *byte == b' ')?;
        let (time, frame) = self.bytes.split_at_checked(space)?;
        let nanos: i64 = std::str::from_utf8(time).ok()?.parse().ok()?;
        Some((Timestamp::from_micros(nanos.div_euclid(1_000)), frame.get(1..)?))
    }
}
