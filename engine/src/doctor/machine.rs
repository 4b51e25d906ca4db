//! The machine: folders and secrets that are nobody else's business, and room on its disks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use eventlog::stream::Log;
use nix::sys::statvfs::statvfs;

use crate::configuration::Configuration;
use crate::configuration::door::{TlsChoice, TokenKeysAt};
use crate::configuration::nats::Identity;
use crate::doctor::finding::Finding;
use crate::doctor::log::{Asked, gigabytes};
use crate::logs::LogUrl;
use crate::private;

/// With less than this a log has no space left soon, and takes no entry then.
const FREE_BYTES_MIN: u64 = 1 << 30;

pub(super) fn look(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = of_secrets(configuration);
    for (folder, may_grow_by) in folders(configuration) {
        findings.push(of_room(&folder, free(&folder), may_grow_by));
    }
    findings
}

/// Looks whether others may read what is secret.
fn of_secrets(configuration: &Configuration) -> Vec<Finding> {
    let door = &configuration.door;
    let mut wrong = Vec::new();
    let mut check = |checked: Result<()>, advice: &str| {
        if let Err(error) = checked {
            wrong.push(Finding::problem("secrets", format!("{error:#}"), advice));
        }
    };
    let owner = "let nobody but the user of the house read it";
    check(door.private.check(), owner);
    if let TokenKeysAt::File(file) = &door.token_keys {
        check(private::check(file), owner);
    }
    // What stands in the private folder is made by a start.
    let made = [door.private.token_keys(), door.private.certificate_key()];
    for file in made.iter().filter(|file| file.exists()) {
        check(private::check(file), owner);
    }
    if let Identity::Credentials(file) | Identity::Nkey(file) = &configuration.nats.identity {
        check(private::check(file), owner);
    }
    if let TlsChoice::Files { key, .. } = &door.tls
        && let Err(error) = private::check(key)
    {
        let said = format!("tls.key: {error:#}");
        wrong.push(Finding::warning("secrets", said, owner));
    }
    if wrong.is_empty() {
        wrong.push(Finding::ok("secrets", "nobody but their owner may read them"));
    }
    wrong
}

/// Returns the folders that a house fills, each once, and by how many bytes the market log may still
/// grow there.
fn folders(configuration: &Configuration) -> Vec<(PathBuf, Option<u64>)> {
    let market = Asked::of(configuration, Log::Market);
    let places = [&configuration.ledger, &configuration.market].into_iter().filter_map(|url| {
        let LogUrl::Embedded(folder) = url else { return None };
        Some(folder.as_path())
    });
    let mut folders: Vec<(PathBuf, Option<u64>)> = Vec::new();
    for place in places.chain([configuration.door.private.data()]) {
        if folders.iter().any(|(known, _)| known == place) {
            continue;
        }
        let is_market = *market.url == LogUrl::Embedded(place.to_owned());
        let bytes_max = market.bytes_max().filter(|_| is_market);
        let may_grow_by = bytes_max.map(|bytes_max| {
            bytes_max.get().saturating_sub(held(&place.join(Log::Market.as_str())))
        });
        folders.push((place.to_owned(), may_grow_by));
    }
    folders
}

/// Returns the bytes of all files in a folder.
fn held(folder: &Path) -> u64 {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|found| found.len()).sum()
}

fn of_room(folder: &Path, free: Option<u64>, may_grow_by: Option<u64>) -> Finding {
    let (about, shown) = ("disk", folder.display());
    let Some(free) = free else {
        let said = format!("{shown}: how much is free cannot be told");
        return Finding::warning(about, said, "let the user of the house look into it");
    };
    let said = format!("{shown}: {} are free", gigabytes(free));
    match may_grow_by {
        _ if free < FREE_BYTES_MIN => {
            let advice = "free some: a log that has no space left takes no entry, and goes on by \
                          itself once there is";
            Finding::problem(about, said, advice)
        }
        Some(more) if free < more => Finding::warning(
            about,
            format!("{said}, and the market log may grow by {}", gigabytes(more)),
            "lower retention.market_bytes, or give it more room",
        ),
        _ => Finding::ok(about, said),
    }
}

/// Returns how many bytes are free for us where a folder is, or will be made.
fn free(folder: &Path) -> Option<u64> {
    let whole = std::path::absolute(folder).ok()?;
    let there = whole.ancestors().find(|place| place.exists())?;
    let found = statvfs(there).ok()?;
    found.blocks_available().checked_mul(found.fragment_size())
}

#[cfg(test)]
mod tests;
