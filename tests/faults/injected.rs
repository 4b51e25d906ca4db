//! Calls of the kernel that fail: the n-th of a kind on a file, in a process that does not know.
//! strace does it, and lists what calls there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools;

/// The calls by which a file changes. One that this kind of processor does not have is passed over.
const CALLS: &str =
    "openat,pwrite64,fdatasync,fsync,ftruncate,?rename,?renameat,?renameat2,?unlink,?unlinkat";

/// One call of a traced run.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The how-many-th of its name, on this path and by its thread, from one.
    pub(super) place: usize,
    makes_a_file: bool,
}

/// A call that is to fail.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) call: String,
    pub(super) paths: Vec<PathBuf>,
    pub(super) error: &'static str,
    /// `3` is the third, `3+` the third and all that follow.
    pub(super) when: String,
}

/// Whether processes can be traced here; says so where not.
pub(super) fn is_possible() -> bool {
    let Some(strace) = tools::tool("strace") else { return false };
    let traced = Command::new(strace).args(["-f", "-D", "-o", "/dev/null", "true"]).output();
    let possible = traced.is_ok_and(|traced| traced.status.success());
    if !possible {
        tools::not_possible("strace may trace nothing here (ptrace)");
    }
    possible
}

/// Returns the words that start a process under strace, which writes to a file what it saw. The
/// process keeps its own id and its own exit code.
pub(super) fn runner(trace: &Path, fault: Option<&Fault>) -> Vec<String> {
    let strace = tools::tool("strace").expect("it was asked for before");
    let mut words = vec![strace.display().to_string()];
    // Threads too; as a grandchild; only what is traced stops the process; files by their names.
    let ours = ["-f", "-D", "--seccomp-bpf", "-y", "-qqq", "-e", "signal=none", "-s", "0", "-o"];
    words.extend(ours.map(ToOwned::to_owned));
    words.extend([trace.display().to_string(), "-e".to_owned(), format!("trace={CALLS}")]);
    if let Some(Fault { call, paths, error, when }) = fault {
        let inject = format!("inject={call}:error={error}:when={when}");
        words.extend(["-e".to_owned(), inject]);
        for path in paths {
            words.extend(["-P".to_owned(), path.display().to_string()]);
        }
    }
    words
}

/// Returns the calls that strace saw on files in a folder, in their order.
pub(super) fn calls(trace: &Path, folder: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    let mut counts: BTreeMap<(String, String, PathBuf), usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, arguments)) = call.trim_start().split_once('(') else { continue };
        // What goes on after another thread's line was counted where it began.
        if name.starts_with('<') {
            continue;
        }
        let Some(path) = path_in(arguments).filter(|path| path.starts_with(folder)) else {
            continue;
        };
        let place = counts.entry((thread.to_owned(), name.to_owned(), path.clone())).or_default();
        *place += 1;
        calls.push(Call {
            name: name.to_owned(),
            path,
            place: *place,
            makes_a_file: arguments.contains("O_CREAT"),
        });
    }
    calls
}

/// Returns whether strace made a call fail.
pub(super) fn has_failed(trace: &Path) -> bool {
    std::fs::read_to_string(trace).unwrap_or_default().contains("(INJECTED)")
}

/// Returns the file that a call is about: the name that is quoted, else that of the descriptor.
fn path_in(arguments: &str) -> Option<PathBuf> {
    let between = |start: char, end: char| {
        let (_, rest) = arguments.split_once(start)?;
        rest.split_once(end).map(|(name, _)| PathBuf::from(name))
    };
    // What is written is quoted too, behind the descriptor.
    if arguments.starts_with(|first: char| first.is_ascii_digit()) {
        return between('<', '>');
    }
    between('"', '"')
}

/// A place in the program from which calls are made: as far as can be seen from outside, all of one
/// name on one kind of file.
pub(super) type Site = (String, String);

/// Returns the calls that may fail, by their site.
pub(super) fn sites(calls: Vec<Call>) -> BTreeMap<Site, Vec<Call>> {
    let mut sites: BTreeMap<Site, Vec<Call>> = BTreeMap::new();
    for call in calls {
        if call.name != "openat" || call.makes_a_file {
            sites.entry((call.name.clone(), kind(&call.path))).or_default().push(call);
        }
    }
    sites
}

/// Returns a file's name without its number; a folder's is empty.
pub(super) fn kind(path: &Path) -> String {
    if path.is_dir() {
        return String::new();
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// Returns the errors with which a call fails on a bad disk.
pub(super) fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "fdatasync" | "fsync" | "ftruncate" => &["EIO"],
        _ => &["EIO", "ENOSPC"],
    }
}
