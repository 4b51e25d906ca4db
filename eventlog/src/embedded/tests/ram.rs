//! A folder in memory whose calls can fail, and which forgets what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::files::{File, Files, Lock};

pub(super) type Bytes = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
pub(super) struct Ram {
    names: Mutex<BTreeMap<String, Arc<RamFile>>>,
    synced_names: Mutex<BTreeMap<String, Arc<RamFile>>>,
    calls: Arc<Mutex<Calls>>,
    locked: Arc<AtomicBool>,
}

#[derive(Default)]
struct Calls {
    /// Calls that change something, so far.
    count: usize,
    fail: Option<(Which, io::ErrorKind)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Name,
    Write,
    /// A write behind the end of its file: what a full disk refuses.
    Growth,
    /// Of a file or the folder.
    Sync,
    /// Of the folder alone.
    Folder,
    /// Everything that is done to files with this in their names.
    Of(&'static str),
    SyncOf(&'static str),
    /// All from this one on, as when the process is killed.
    From(usize),
}

#[derive(Default)]
struct RamFile {
    /// Under which it was made.
    name: String,
    bytes: Mutex<Vec<u8>>,
    synced: Mutex<Vec<u8>>,
    calls: Arc<Mutex<Calls>>,
}

impl Ram {
    pub(super) fn of(bytes: &Bytes) -> Arc<Self> {
        let ram = Self::default();
        for (name, bytes) in bytes {
            let file = ram.file(name, bytes.clone());
            ram.names.lock().unwrap().insert(name.clone(), Arc::clone(&file));
            ram.synced_names.lock().unwrap().insert(name.clone(), file);
        }
        Arc::new(ram)
    }

    fn file(&self, name: &str, bytes: Vec<u8>) -> Arc<RamFile> {
        let (name, calls) = (name.to_owned(), Arc::clone(&self.calls));
        let (synced, bytes) = (Mutex::new(bytes.clone()), Mutex::new(bytes));
        Arc::new(RamFile { name, bytes, synced, calls })
    }

    pub(super) fn fail(&self, which: Option<Which>, kind: io::ErrorKind) {
        self.calls.lock().unwrap().fail = which.map(|which| (which, kind));
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.lock().unwrap().count
    }

    /// What a killed process leaves.
    pub(super) fn bytes(&self) -> Bytes {
        let names = self.names.lock().unwrap();
        names
            .iter()
            .map(|(name, file)| (name.clone(), file.bytes.lock().unwrap().clone()))
            .collect()
    }

    /// What a power cut leaves, when nothing went to the disk by itself.
    pub(super) fn synced(&self) -> Bytes {
        let names = self.synced_names.lock().unwrap();
        names
            .iter()
            .map(|(name, file)| (name.clone(), file.synced.lock().unwrap().clone()))
            .collect()
    }

    /// What a power cut leaves, when only names went to the disk by themselves.
    pub(super) fn named(&self) -> Bytes {
        let names = self.names.lock().unwrap();
        names
            .iter()
            .map(|(name, file)| (name.clone(), file.synced.lock().unwrap().clone()))
            .collect()
    }

    /// Changes a byte behind the log's back.
    pub(super) fn flip(&self, name: &str, byte: usize) {
        self.names.lock().unwrap()[name].bytes.lock().unwrap()[byte] ^= 1;
    }

    pub(super) fn shorten(&self, name: &str, length: usize) {
        self.names.lock().unwrap()[name].bytes.lock().unwrap().truncate(length);
    }
}

fn call(calls: &Mutex<Calls>, this: Which, name: &str) -> io::Result<()> {
    let mut calls = calls.lock().unwrap();
    calls.count += 1;
    match calls.fail {
        Some((Which::From(first), kind)) if calls.count > first => Err(kind.into()),
        Some((Which::Of(part), kind)) if name.contains(part) => Err(kind.into()),
        Some((Which::SyncOf(part), kind)) if this == Which::Sync && name.contains(part) => {
            Err(kind.into())
        }
        Some((Which::Sync, kind)) if this == Which::Folder => Err(kind.into()),
        Some((which, kind)) if which == this => Err(kind.into()),
        _ => Ok(()),
    }
}

impl Files for Ram {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names.lock().unwrap().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        call(&self.calls, Which::Name, name)?;
        let file = self.file(name, Vec::new());
        self.names.lock().unwrap().insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let names = self.names.lock().unwrap();
        let file = names.get(name).map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        call(&self.calls, Which::Name, from)?;
        let mut names = self.names.lock().unwrap();
        let file = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        call(&self.calls, Which::Name, name)?;
        let removed = self.names.lock().unwrap().remove(name);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        call(&self.calls, Which::Folder, "")?;
        self.synced_names.lock().unwrap().clone_from(&self.names.lock().unwrap());
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Box<dyn Lock>> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(RamLock(Arc::clone(&self.locked))))
    }
}

struct RamLock(Arc<AtomicBool>);

impl Lock for RamLock {}

impl Drop for RamLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl File for RamFile {
    fn read_at(&self, out: &mut [u8], position: u64) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let position = usize::try_from(position).unwrap();
        let read = bytes.get(position..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(read.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, new: &[u8], position: u64) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap();
        let position = usize::try_from(position).unwrap();
        let grows = position + new.len() > bytes.len();
        let called =
            call(&self.calls, if grows { Which::Growth } else { Which::Write }, &self.name);
        // A write that fails has done half its work.
        let new = if called.is_ok() { new } else { &new[..new.len() / 2] };
        let length = bytes.len().max(position + new.len());
        bytes.resize(length, 0);
        bytes[position..position + new.len()].copy_from_slice(new);
        called
    }

    fn sync_data(&self) -> io::Result<()> {
        call(&self.calls, Which::Sync, &self.name)?;
        self.synced.lock().unwrap().clone_from(&self.bytes.lock().unwrap());
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        call(&self.calls, Which::Write, &self.name)?;
        self.bytes.lock().unwrap().resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }
}
