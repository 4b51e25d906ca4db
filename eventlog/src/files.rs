//! The file system as the embedded log sees it: one folder and the files in it. Nothing else
//! touches the disk, so a test can put a disk in its place that fails, lies or loses power.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// One folder.
pub trait Files: Send + Sync {
    /// Returns the names of all files in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Returns an empty file of this name, whatever was there before.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file; the error is `NotFound` when there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of any file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names that came and went durable.
    fn sync(&self) -> io::Result<()>;

    /// Takes the lock of this name until the returned value is dropped or the process ends. When
    /// another has it, the error is `WouldBlock`.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>>;
}

/// One file. Threads share it; the caller keeps writes and reads of one place apart.
pub trait File: Send + Sync {
    /// Fills `bytes` from `position` on; the error is `UnexpectedEof` when the file ends before.
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes all of `bytes`; after an error any part of them may be there.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Makes what was written durable, and the length with it.
    fn sync_data(&self) -> io::Result<()>;

    fn set_length(&self, length: u64) -> io::Result<()>;

    fn length(&self) -> io::Result<u64>;
}

/// A lock that is held as long as this lives.
pub trait Lock: Send + Sync {}

/// A folder on a disk.
pub struct Disk {
    folder: PathBuf,
    writes: bool,
}

impl Disk {
    /// Opens a folder, and makes it where there is none.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let absolute = std::path::absolute(&folder)?;
        let new = absolute.ancestors().take_while(|ancestor| !ancestor.exists()).count();
        fs::create_dir_all(&folder)?;
        // A folder that a power cut takes back would take its files along: each new name is made
        // durable in the folder that it stands in.
        for parent in absolute.ancestors().skip(1).take(new) {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self { folder, writes: true })
    }

    /// Opens a folder that is there, to read it and change nothing in it.
    pub fn existing(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        if fs::metadata(&folder)?.is_dir() {
            Ok(Self { folder, writes: false })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Returns the path of a file that is about to be changed.
    fn changed(&self, name: &str) -> io::Result<PathBuf> {
        if self.writes {
            Ok(self.folder.join(name))
        } else {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder is open for reading"))
        }
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.folder)?
            // Our own names are text; what is not text is not ours.
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::File::options();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(options.open(self.changed(name)?)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::File::options();
        Ok(Arc::new(options.read(true).write(self.writes).open(self.folder.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.changed(from)?, self.changed(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.changed(name)?)
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.folder)?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        let mut options = fs::File::options();
        let file = options.write(true).create(true).truncate(false).open(self.changed(name)?)?;
        file.try_lock()?;
        Ok(Box::new(file))
    }
}

impl File for fs::File {
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        self.read_exact_at(bytes, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_at(bytes, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Lock for fs::File {}
