//! What is true of the house as a whole, seen from outside. One test binary.
//!
//! Read in this order: `house` starts the real `entasis` and asks it, `data` knows where recorded
//! markets are, `exchange` is a venue that plays them over sockets, `listener` a client of ours,
//! `wire` is a bad one between a client and the house, `tools` what `tests/run` has installed, `browser` opens a page, and `canaries` are secrets that no log
//! may hold. Then the tests: `samples` runs the specification's own code against the house,
//! `documented` asks whatever the document allows, `entrance` changes keys, certificate and rules while
//! the door is open, `abuse` comes with bad intentions, `journeys` plays recorded days through its door,
//! `live` does so over real sockets and on bad days, `sockets` lets listeners come and go,
//! `standby` kills one of two feeds, `trading` sends commands through a bad wire to a house that dies, `triggers` asks a script which trades close positions, `restart`
//! kills the house and looks what it still knows, `faults` fills its disk and makes calls of the
//! kernel fail, `cluster` has several nodes on real brokers, `kurrent` has them on a server that speaks as KurrentDB does, `deployment` runs the files of deploy/, `backup` copies a house that runs and brings it
//! back, and `recordings` compares with reference answers
//! inside the process. Last, `tidy` keeps the rules of the house.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "all of this crate is test code")]

mod house;

mod browser;
mod canaries;
mod data;
mod exchange;
mod listener;
mod tools;
mod wire;

mod samples;

mod abuse;
mod documented;
mod entrance;

mod backup;
mod cluster;
mod deployment;
mod faults;
mod journeys;
mod kurrent;
mod live;
mod restart;
mod sockets;
mod standby;
mod trading;
mod triggers;

mod recordings;

mod tidy;

#[test]
fn no_file_beside_this_one_is_forgotten() {
    let this = include_str!("main.rs");
    let files = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("the folder of this file");

    for file in files {
        let path = file.expect("a folder that can be listed").path();
        let is_module = path.extension().is_some_and(|extension| extension == "rs");
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("plain file names");
        if is_module && module != "main" {
            assert!(this.contains(&format!("\nmod {module};\n")), "{module}.rs is in no build");
        }
    }
}
