//! Several nodes on one NATS JetStream and one PostgreSQL: brokers that are killed and paused under
//! load, nodes that die while they are the feed, and what is away for a while.
//!
//! `site` starts the brokers and the nodes, `clients` trade on all nodes and keep a journal, and
//! `judge` holds the logs against it. Then the tests: `faults` kills brokers, `feeding` kills nodes
//! that listen to a venue, `alike` does the same on files and on JetStream, `copying` moves logs from
//! one to the other and back, and `away` takes a broker, its disk, or PostgreSQL away.
//!
//! `ENTASIS_TEST_SEED` draws other moments, `ENTASIS_TEST_LONG=1` fifty times as many: `tests/long`.

pub(crate) mod clients;
pub(crate) mod judge;
pub(crate) mod site;

pub(crate) mod faults;

mod feeding;

pub(crate) mod alike;

pub(crate) mod copying;

mod away;
