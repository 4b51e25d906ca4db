//! A folder that is filled beside its place and put there when it is whole, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// A folder under a name of its own. Dropped before it is finished, it goes with all that is in it.
pub(crate) struct Unfinished {
    folder: PathBuf,
    place: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    /// Begins what is to stand at `place`, where there must be nothing, or an empty folder.
    pub(crate) fn begin(place: &Path) -> Result<Self> {
        let shown = place.display();
        let is_there = is_empty_folder(place)?;
        let place = if is_there { fs::canonicalize(place) } else { std::path::absolute(place) }
            .with_context(|| format!("{shown}"))?;
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
            bail!("{shown} cannot be put in place as a whole; give a folder in it");
        };
        fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
        if is_there {
            ensure!(!is_mounted(&place, parent)?, "{shown} is a mount point; give a folder in it");
        }
        let folder = parent.join(unfinished(name.to_owned()));
        fs::create_dir(&folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => anyhow::anyhow!(
                "{} is there: another is at work, or was stopped; then remove it",
                folder.display()
            ),
            _ => anyhow::Error::new(error).context(format!("{}", folder.display())),
        })?;
        Ok(Self { folder, place, is_finished: false })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what was put in so far.
    pub(crate) fn begin_anew(&self) -> Result<()> {
        let again = || -> io::Result<()> {
            fs::remove_dir_all(&self.folder)?;
            fs::create_dir(&self.folder)
        };
        again().with_context(|| format!("{}", self.folder.display()))
    }

    /// Puts the folder in its place. What is in its files is durable before.
    pub(crate) fn finish(mut self) -> Result<()> {
        let finish = || -> io::Result<()> {
            sync(&self.folder)?;
            fs::rename(&self.folder, &self.place)?;
            self.place.parent().map_or(Ok(()), sync)
        };
        finish().with_context(|| format!("{} cannot be put in place", self.place.display()))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "what is unfinished is left");
        }
    }
}

fn unfinished(mut name: OsString) -> OsString {
    name.push(".unfinished");
    name
}

/// Whether there is an empty folder; an error when there is anything else.
fn is_empty_folder(place: &Path) -> Result<bool> {
    match fs::read_dir(place) {
        Ok(mut entries) => {
            ensure!(entries.next().is_none(), "{} is not empty", place.display());
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{}", place.display())),
    }
}

/// Whether a folder is on another file system than its parent, so that nothing takes its place.
fn is_mounted(place: &Path, parent: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let device = |folder: &Path| {
        fs::metadata(folder).map(|metadata| metadata.dev()).context(folder.display().to_string())
    };
    Ok(device(place)? != device(parent)?)
}

/// Makes the names in a folder durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_finished_is_in_place_and_what_is_not_leaves_no_trace() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("a/b");
        let names = || -> Vec<_> {
            let entries = fs::read_dir(parent.path().join("a")).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };

        let dropped = Unfinished::begin(&place).unwrap();
        fs::write(dropped.folder().join("file"), "1").unwrap();
        let said = Unfinished::begin(&place).err().unwrap().to_string();
        assert!(said.contains("b.unfinished is there"), "{said}");
        drop(dropped);
        assert!(names().is_empty());

        for round in 0..2 {
            // The first time there is nothing, the second time an empty folder.
            let finished = Unfinished::begin(&place).unwrap();
            fs::write(finished.folder().join("old"), "1").unwrap();
            finished.begin_anew().unwrap();
            fs::write(finished.folder().join("file"), "2").unwrap();
            finished.finish().unwrap();
            assert_eq!(names(), ["b"], "round {round}");
            assert_eq!(fs::read(place.join("file")).unwrap(), b"2");
            assert!(!place.join("old").exists());
            let said = Unfinished::begin(&place).err().unwrap().to_string();
            assert!(said.ends_with("a/b is not empty"), "{said}");
            fs::remove_file(place.join("file")).unwrap();
        }
        fs::remove_dir(&place).unwrap();
        fs::write(&place, "a file").unwrap();
        assert!(Unfinished::begin(&place).is_err());
        assert_eq!(names(), ["b"]);
    }
}
