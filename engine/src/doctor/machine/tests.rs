//! Whose secrets can be read, and how much room there is.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::command_line::Demo;
use crate::configuration;
use crate::doctor::finding::Level;
use crate::entrance;

const GB: u64 = 1_000_000_000;

fn configuration(folder: &TempDir) -> Configuration {
    let data = Some(folder.path().join("data"));
    configuration::of_demo(&Demo { data, ..Demo::default() }).unwrap()
}

fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}

#[test]
fn secrets_that_others_may_read_are_a_problem_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut configuration = configuration(&folder);
    let private = configuration.door.private.clone();
    assert_eq!(levels(&of_secrets(&configuration)), [Level::Ok], "there are none yet");
    assert!(!private.data().exists(), "looking makes nothing");

    entrance::token_keys(&configuration.door).unwrap();
    assert_eq!(levels(&of_secrets(&configuration)), [Level::Ok]);
    fs::set_permissions(private.token_keys(), fs::Permissions::from_mode(0o644)).unwrap();
    let found = of_secrets(&configuration);
    assert_eq!(levels(&found), [Level::Problem]);
    assert!(found[0].said.contains("chmod 600"), "{}", found[0]);

    fs::set_permissions(private.token_keys(), fs::Permissions::from_mode(0o600)).unwrap();
    let none = folder.path().join("none.creds");
    configuration.nats.identity = Identity::Credentials(none);
    let found = of_secrets(&configuration);
    assert_eq!(levels(&found), [Level::Problem]);
    assert!(found[0].said.contains("none.creds"), "{}", found[0]);
}

#[test]
fn a_disk_must_have_room_for_what_the_market_log_may_hold() {
    let of = |free, more| of_room(Path::new("/data"), free, more).level;

    assert_eq!(of(Some(30 * GB), Some(20 * GB)), Level::Ok);
    assert_eq!(of(Some(30 * GB), None), Level::Ok);
    assert_eq!(of(Some(19 * GB), Some(20 * GB)), Level::Warning);
    assert_eq!(of(Some(GB), None), Level::Problem);
    assert_eq!(of(Some(0), Some(0)), Level::Problem);
    assert_eq!(of(None, Some(0)), Level::Warning);
}

#[test]
fn what_the_market_log_holds_already_takes_no_more_room() {
    let folder = tempfile::tempdir().unwrap();
    let configuration = configuration(&folder);
    let data = configuration.door.private.data().to_owned();
    let all = configuration.retention.market_bytes.get();
    assert_eq!(folders(&configuration), [(data.clone(), Some(all))]);

    fs::create_dir_all(data.join("market")).unwrap();
    fs::write(data.join("market/1"), [0; 1_000]).unwrap();
    assert_eq!(folders(&configuration), [(data.clone(), Some(all - 1_000))]);

    let market = LogUrl::parse("kurrentdb://a").unwrap();
    let apart = Configuration { market, ..configuration };
    assert_eq!(folders(&apart), [(data, None)], "what others keep takes no room here");
}

#[test]
fn room_is_known_also_where_the_folder_is_still_to_be_made() {
    let folder = tempfile::tempdir().unwrap();

    assert!(free(&folder.path().join("a/b")).is_some_and(|bytes| bytes > 0));
}
