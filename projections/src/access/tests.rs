//! Keys and tokens as their streams tell of them.

use std::fmt::Write;

use domain::access::Role;
use domain::keys::REVOKED_KNOWN_MAX;
use domain::keys::key::{Grant, SecretHash};
use expect_test::{Expect, expect};

use super::*;
use crate::sample::{at, copy_of, entry_of};

/// Reads one entry a line: `TIME: EVENT` where an event is one of `created KEY`, `rotated KEY`,
/// `revoked KEY`, `token TOKEN UNTIL` and, in the stream of a node, `used KEY TIME`. The time is when
/// it was recorded.
fn entries(table: &str) -> Vec<Entry> {
    let lines = table.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.zip(1..).map(|(line, offset)| entry(line, offset)).collect()
}

fn entry(line: &str, offset: u64) -> Entry {
    let (time, drawn) = line.split_once(": ").unwrap();
    let words: Vec<&str> = drawn.split(' ').collect();
    let key = || words[1].parse().unwrap();
    let secret = SecretHash([u8::try_from(offset % 256).unwrap(); 32]);
    let (stream, event) = match words[0] {
        "created" => (
            Stream::Keys,
            Event::Key(KeyEvent::ApiKeyCreated { key: key(), grant: grant(), secret }),
        ),
        "rotated" => {
            let former_until = at(time).plus(MINUTE);
            (Stream::Keys, KeyEvent::ApiKeyRotated { key: key(), secret, former_until }.into())
        }
        "revoked" => (Stream::Keys, KeyEvent::ApiKeyRevoked { key: key() }.into()),
        "token" => {
            let (token, account) = (words[1].parse().unwrap(), "alice".parse().unwrap());
            let (at, until) = (at(time), at(words[2]));
            (Stream::Keys, KeyEvent::TokenRevoked { token, account, at, until }.into())
        }
        "used" => {
            let used = AccessEvent::ApiKeyUsed { at: at(words[2]), key: key() };
            ("access-node-1".parse().unwrap(), used.into())
        }
        _ => panic!("no event reads like {drawn:?}"),
    };
    let mut entry = entry_of(stream, offset, vec![event]);
    entry.recorded_at = at(time);
    entry
}

fn grant() -> Grant {
    Grant {
        account: "alice".parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        networks: BTreeSet::new(),
        expires_at: None,
        label: None,
    }
}

fn access(table: &str) -> Access {
    let mut access = Access::default();
    for entry in entries(table) {
        access.fold(&entry);
    }
    access
}

fn draw(access: &Access) -> String {
    let time =
        |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_shortest()[11..16].to_owned());
    let mut drawn = String::new();
    for (id, key, made) in access.keys() {
        let Made { created_at, rotated_at, revoked_at, used_at } = made;
        let secrets = [Some(key.secret), key.former.as_ref().map(|former| former.secret)];
        let secrets: Vec<u8> = secrets.into_iter().flatten().map(|secret| secret.0[0]).collect();
        let [rotated, revoked, used] = [rotated_at, revoked_at, used_at].map(|at| time(*at));
        writeln!(
            drawn,
            "{id} {secrets:?}{} created {} rotated {rotated} revoked {revoked} used {used}",
            if key.revoked { " gone," } else { "" },
            time(Some(*created_at)),
        )
        .unwrap();
    }
    for (until, token) in access.keys.tokens().iter() {
        writeln!(drawn, "{token} until {}", time(Some(until))).unwrap();
    }
    drawn
}

#[track_caller]
fn check(table: &str, expected: &Expect) {
    let access = access(table);
    expected.assert_eq(&draw(&access));
    assert_eq!(copy_of(&access), access);
}

#[test]
fn a_key_is_known_with_all_that_became_of_it() {
    check(
        "09:00: created aaaaaaaa
         09:01: created bbbbbbbb
         09:02: used aaaaaaaa 09:01:30
         09:03: rotated aaaaaaaa
         09:04: used bbbbbbbb 09:04
         09:05: revoked bbbbbbbb
         09:06: token t1 09:20
         09:07: token t2 09:07:30
         09:08: token t3 09:09
         09:08: rotated aaaaaaaa",
        &expect![[r#"
            aaaaaaaa [10, 4] created 09:00 rotated 09:08 revoked - used 09:01
            bbbbbbbb [2] gone, created 09:01 rotated - revoked 09:05 used 09:04
            t3 until 09:09
            t1 until 09:20
        "#]],
    );
}

#[test]
fn of_two_uses_the_later_one_counts_in_whichever_order_they_are_told() {
    for uses in [
        "09:02: used aaaaaaaa 09:01\n09:03: used aaaaaaaa 09:02",
        "09:02: used aaaaaaaa 09:02\n09:03: used aaaaaaaa 09:01",
    ] {
        let access = access(&format!("09:00: created aaaaaaaa\n{uses}"));
        let made = access.made(&"aaaaaaaa".parse().unwrap()).unwrap();
        assert_eq!(made.used_at, Some(at("09:02")), "{uses}");
    }
}

#[test]
fn a_key_that_nobody_made_is_not_known_by_its_use() {
    let access = access("09:02: used aaaaaaaa 09:01");
    assert_eq!(access, Access::default());
}

#[test]
fn what_stands_in_another_stream_makes_no_key() {
    let mut entry = entry("09:00: created aaaaaaaa", 1);
    entry.stream = "access-node-1".parse().unwrap();
    let mut access = Access::default();
    access.fold(&entry);

    assert_eq!(access, Access::default());
    assert_eq!(access.take_changed(), BTreeSet::new());
}

fn changed(access: &mut Access, line: &str) -> Vec<String> {
    access.take_changed();
    access.fold(&entry(line, 99));
    access.take_changed().into_iter().collect()
}

#[test]
fn what_changes_is_the_part_of_that_key_or_of_that_minute() {
    let mut access = access("09:00: created aaaaaaaa\n09:01: created bbbbbbbb");
    for (line, parts) in [
        ("09:02: created cccccccc", vec!["key/cccccccc"]),
        ("09:03: rotated aaaaaaaa", vec!["key/aaaaaaaa"]),
        ("09:04: used bbbbbbbb 09:04", vec!["key/bbbbbbbb"]),
        ("09:05: revoked bbbbbbbb", vec!["key/bbbbbbbb", "revoked"]),
        ("09:06: token t1 09:20:59", vec!["tokens/2024-03-21T09:20:00Z"]),
        ("09:07: token t2 09:21", vec!["tokens/2024-03-21T09:21:00Z"]),
        // The first is forgotten.
        (
            "09:21: token t3 09:30",
            vec!["tokens/2024-03-21T09:20:00Z", "tokens/2024-03-21T09:30:00Z"],
        ),
    ] {
        assert_eq!(changed(&mut access, line), parts, "{line}");
    }
    assert_eq!(access.part("tokens/2024-03-21T09:20:00Z"), None);
    assert_eq!(access.parts().len(), 6);
}

#[test]
fn a_key_that_is_forgotten_is_gone_with_all_that_was_known_of_it() {
    let mut access = access("09:00: created oldestxx\n09:01: revoked oldestxx");
    for number in 1..REVOKED_KNOWN_MAX {
        access.fold(&entry(&format!("09:02: created key{number:05}"), 1));
        access.fold(&entry(&format!("09:02: revoked key{number:05}"), 1));
    }
    access.fold(&entry("09:03: created theveryl", 1));
    assert!(access.made(&"oldestxx".parse().unwrap()).is_some());

    let parts = changed(&mut access, "09:04: revoked theveryl");

    assert_eq!(parts, ["key/oldestxx", "key/theveryl", "revoked"]);
    assert_eq!(access.part("key/oldestxx"), None);
    assert_eq!(access.keys().count(), REVOKED_KNOWN_MAX);
    assert_eq!(copy_of(&access), access);
    // A copy goes on as the view does.
    let mut copy = copy_of(&access);
    for access in [&mut access, &mut copy] {
        access.fold(&entry("09:05: created another1", 1));
        assert_eq!(changed(access, "09:05: revoked another1")[1], "key/key00001");
    }
    assert_eq!(copy, access);
}

#[test]
fn what_does_not_read_is_no_part() {
    let access = access(
        "09:00: created aaaaaaaa
         09:01: revoked aaaaaaaa
         09:02: token t1 09:20:30",
    );
    let tokens = access.part("tokens/2024-03-21T09:20:00Z").unwrap();
    for (name, state) in [
        ("key/aaaaaaaa", b"{}".as_slice()),
        ("key/aaaaaaaa/x", &access.part("key/aaaaaaaa").unwrap()),
        ("key/", &access.part("key/aaaaaaaa").unwrap()),
        ("key", &access.part("key/aaaaaaaa").unwrap()),
        ("revoked", b"{}"),
        ("revoked/", &access.part("revoked").unwrap()),
        ("tokens/2024-03-21T09:21:00Z", &tokens),
        ("tokens/2024-03-21T09:20:30Z", &tokens),
        ("tokens/2024-03-21T18:20:00+09:00", &tokens),
        ("tokens", &tokens),
        ("", &tokens),
    ] {
        let error = Access::default().restore(name, state).unwrap_err();
        assert_eq!(error.name, name);
        assert!(!access.parts().contains(name) || access.part(name).is_some());
    }
}
