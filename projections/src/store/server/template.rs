//! A folder as `initdb` makes it, from which those of servers are copied, and whose they are.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use super::{MASTER, PASSWORD};

pub(super) struct Template(TempDir);

/// Whom the server runs as, when the test is root, as which it would refuse to.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl Template {
    /// Returns the one of this process, or makes it, which takes a second.
    pub(super) fn get(binaries: &Path, user: Option<User>) -> Arc<Self> {
        static MADE: Mutex<Weak<Template>> = Mutex::new(Weak::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = made.upgrade() {
            return template;
        }
        let template = Arc::new(Self(temporary(user)));
        let password = template.0.path().join("password");
        fs::write(&password, PASSWORD).expect("a temporary folder that takes a file");
        let mut initdb = as_user(Command::new(binaries.join("initdb")), user);
        initdb.arg("-D").arg(template.data()).arg("--pwfile").arg(password);
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256"]);
        run(initdb.args(["--username", MASTER]).current_dir(template.0.path()));
        *made = Arc::downgrade(&template);
        template
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

/// Returns whom to run a server as: the one that Debian's package makes, else nobody; `None` when we
/// are not root.
pub(super) fn user() -> Option<User> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        lines.find_map(|account| match account.as_slice() {
            [found, _, uid, gid, ..] if *found == name => {
                Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        })
    };
    is_root.then(|| find(MASTER).or_else(|| find("nobody")).expect("a user who is not root"))
}

/// Returns a folder of that user.
pub(super) fn temporary(user: Option<User>) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Some(User { uid, gid }) = user {
        chown(folder.path(), Some(uid), Some(gid)).expect("root may give a folder away");
    }
    folder
}

pub(super) fn as_user(mut command: Command, user: Option<User>) -> Command {
    if let Some(User { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

pub(super) fn run(command: &mut Command) {
    let output = command.output().expect("a program that is there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
