//! A small disk of one's own, which can be filled and emptied while a process works on it: a tmpfs
//! in a mount namespace that lives as long as this value.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::tools;

/// The folder in which the house keeps its data, on the disk.
const DATA: &str = "data";

/// Takes the space that nobody else is to have.
const FILLER: &str = "filler";

/// Mounts the disk, says so, and stays until its stdin is closed.
const MOUNT: &str = r#"mount -t tmpfs -o "size=$1" entasis "$0" && echo mounted && exec cat"#;

pub(crate) struct Space {
    /// The process that holds the namespace. Its end ends it.
    holder: Child,
    /// Whether it needed a user namespace besides.
    in_user_namespace: bool,
    /// Where the disk is mounted, as seen by who has entered.
    place: PathBuf,
}

impl Space {
    /// Mounts a disk of so many bytes; `None` where this machine does not allow it.
    pub(crate) async fn mount(place: &Path, bytes: u64) -> Option<Self> {
        let (unshare, _) = (tools::tool("unshare")?, tools::tool("nsenter")?);
        fs::create_dir_all(place).expect("a folder to mount it on");
        for in_user_namespace in [false, true] {
            let mut command = Command::new(&unshare);
            command.args(in_user_namespace.then_some("--map-root-user"));
            command.args(["--mount", "sh", "-c", MOUNT]).arg(place).arg(bytes.to_string());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut holder = command.kill_on_drop(true).spawn().expect("unshare starts");
            let said = holder.stdout.take().expect("stdout is piped");
            let first = BufReader::new(said).lines().next_line().await.expect("its stdout reads");
            if first.as_deref() == Some("mounted") {
                return Some(Self { holder, in_user_namespace, place: place.to_owned() });
            }
        }
        tools::not_possible("a disk of one's own needs the right to mount, or user namespaces");
        None
    }

    /// Returns the words that start a process which sees this disk.
    pub(crate) fn runner(&self) -> Vec<String> {
        let nsenter = tools::tool("nsenter").expect("it was there a moment ago");
        let id = self.holder.id().expect("the holder was not waited for").to_string();
        let mut words = vec![nsenter.display().to_string(), "--target".to_owned(), id];
        if self.in_user_namespace {
            words.push("--user".to_owned());
        }
        words.push("--mount".to_owned());
        words
    }

    /// Returns the data folder as the house is to be told.
    pub(crate) fn data(&self) -> String {
        self.place.join(DATA).display().to_string()
    }

    /// Returns the data folder as it is reached from here.
    pub(crate) fn data_from_outside(&self) -> PathBuf {
        self.outside().join(DATA)
    }

    /// Returns the disk as it is reached from here.
    fn outside(&self) -> PathBuf {
        let id = self.holder.id().expect("the holder was not waited for");
        PathBuf::from(format!("/proc/{id}/root{}", self.place.display()))
    }

    /// Fills the disk but for so many bytes. Whoever writes meanwhile takes of them too.
    pub(crate) fn fill(&self, left: u64) {
        let filler = self.outside().join(FILLER);
        let mut options = File::options();
        let mut filler = options.append(true).create(true).open(filler).expect("one more name");
        let zeros = vec![0; 1 << 20];
        let mut block = zeros.len();
        while block > 0 {
            match filler.write(&zeros[..block]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => block /= 2,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
        Self::cut(&filler, left);
    }

    /// Gives so many bytes back.
    pub(crate) fn free(&self, bytes: u64) {
        let filler = File::options().write(true).open(self.outside().join(FILLER));
        Self::cut(&filler.expect("the disk was filled before"), bytes);
    }

    fn cut(filler: &File, bytes: u64) {
        let length = filler.metadata().expect("an open file").len();
        filler.set_len(length.saturating_sub(bytes)).expect("a file can be cut");
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder for the copy");
    // What only its owner may enter is to stay so.
    let permissions = fs::metadata(from).expect("a folder that is there").permissions();
    fs::set_permissions(to, permissions).expect("a folder of our own");
    for entry in fs::read_dir(from).expect("a folder that can be listed") {
        let path = entry.expect("a folder that can be listed").path();
        let copied = to.join(path.file_name().expect("a listed file has a name"));
        if path.is_dir() {
            copy(&path, &copied);
        } else if path.is_file() {
            // A socket that a house has left behind is nothing to copy.
            fs::copy(&path, &copied).expect("a file that can be copied");
        }
    }
}
