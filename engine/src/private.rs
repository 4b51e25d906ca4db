//! The folder of what is nobody else's business: keys, and the socket of the administrator.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// Bytes of a file of ours. A larger one is not read: it is something else.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// `DATA/private`. Only its owner may look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Private(PathBuf);

impl Private {
    pub(crate) fn in_folder(data: &Path) -> Self {
        Self(data.join("private"))
    }

    /// Returns the data folder that it stands in.
    pub(crate) fn data(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }

    pub(crate) fn token_keys(&self) -> PathBuf {
        self.0.join("token_keys.json")
    }

    pub(crate) fn certificate_key(&self) -> PathBuf {
        self.0.join("self_signed.key.pem")
    }

    /// The certificate is for everybody to see, and to trust: it stands beside the folder.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.with_file_name("self_signed.pem")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// Makes the folder, or checks that it is as it was made.
    pub(crate) fn make(&self) -> Result<()> {
        let shown = self.0.display();
        let data = self.data();
        fs::create_dir_all(data).with_context(|| format!("{}", data.display()))?;
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("{shown}"));
            }
            _ => {}
        }
        self.check()
    }

    /// Checks that it is as it was made, where it is there.
    pub(crate) fn check(&self) -> Result<()> {
        let shown = self.0.display();
        let found = match fs::metadata(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            found => found.with_context(|| format!("{shown}"))?,
        };
        let mode = found.permissions().mode();
        ensure!(is_owners(mode), "{shown} is open to others: chmod 700 {shown}");
        Ok(())
    }

    /// Returns the text of a secret file in this folder; makes it first when it is not there. Of two
    /// who make it at once, both read the same.
    pub(crate) fn read_or_make(
        &self,
        file: &Path,
        make: impl FnOnce() -> Result<SecretString>,
    ) -> Result<SecretString> {
        self.make()?;
        if !file.exists() {
            let draft = write_beside(file, &make()?)?;
            let linked = fs::hard_link(&draft, file);
            fs::remove_file(&draft).with_context(|| format!("{}", draft.display()))?;
            match linked {
                Ok(()) => tracing::info!(file = %file.display(), "made"),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("{}", file.display())),
            }
        }
        read(file)
    }
}

/// The bits of a mode that let others than the owner do anything.
const OTHERS: u32 = 0o077;

const fn is_owners(mode: u32) -> bool {
    mode & OTHERS == 0
}

/// Returns the text of a file with a secret, which nobody but its owner may read.
pub(crate) fn read(file: &Path) -> Result<SecretString> {
    check(file)?;
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    Ok(text.into())
}

/// Checks a file with a secret, without reading it.
pub(crate) fn check(file: &Path) -> Result<()> {
    let shown = file.display();
    let check = || -> Result<()> {
        let found = fs::metadata(file)?;
        ensure!(found.is_file(), "it is no file");
        ensure!(found.size() <= FILE_BYTES_MAX, "it is too large");
        let mode = found.permissions().mode();
        ensure!(is_owners(mode), "it is open to others: chmod 600 {shown}");
        Ok(())
    };
    check().with_context(|| format!("{shown}"))
}

/// Puts a text with a secret in the place of a file, whole or not at all.
pub(crate) fn replace(file: &Path, text: &SecretString) -> Result<()> {
    let draft = write_beside(file, text)?;
    fs::rename(&draft, file).with_context(|| format!("{}", file.display()))
}

/// Writes a text into a new file beside another.
fn write_beside(file: &Path, text: &SecretString) -> Result<PathBuf> {
    let draft = file.with_extension(format!("{}.draft", Uuid::now_v7().simple()));
    let write = || -> io::Result<()> {
        let mut to: File =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        to.write_all(text.expose_secret().as_bytes())?;
        to.sync_all()
    };
    write().with_context(|| format!("{}", draft.display()))?;
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let private = Private::in_folder(&folder.path().join("data"));
        let file = private.token_keys();

        let made = private.read_or_make(&file, || Ok("first".to_owned().into())).unwrap();
        let read = private.read_or_make(&file, || Ok("second".to_owned().into())).unwrap();

        assert_eq!((made.expose_secret(), read.expose_secret()), ("first", "first"));
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_others_may_read_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let private = Private::in_folder(folder.path());
        let file = private.token_keys();
        private.read_or_make(&file, || Ok("first".to_owned().into())).unwrap();

        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let said = format!("{:#}", read(&file).unwrap_err());
        assert!(said.contains("chmod 600"), "{said}");

        fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        let said = format!("{:#}", private.make().unwrap_err());
        assert!(said.contains("chmod 700"), "{said}");
    }

    #[test]
    fn a_secret_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        replace(&file, &"one".to_owned().into()).unwrap();
        replace(&file, &"two".to_owned().into()).unwrap();

        assert_eq!(read(&file).unwrap().expose_secret(), "two");
        assert_eq!((mode(&file), fs::read_dir(folder.path()).unwrap().count()), (0o600, 1));
    }
}
