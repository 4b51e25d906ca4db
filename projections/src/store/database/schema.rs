//! The tables of the read store, in the words of `SQLite`; `postgres` reads them in its own.

/// What stands in a database, by name. A file in which it stands otherwise is set aside, a server's
/// tables are dropped and made again.
pub(super) const SCHEMA: [(&str, &str); 8] = [
    (
        "cut",
        "CREATE TABLE cut (view TEXT NOT NULL, revision BIGINT NOT NULL, number BIGINT NOT NULL, \
         taken_at BIGINT NOT NULL, ledger BIGINT NOT NULL, ledger_hash BLOB NOT NULL, \
         market BIGINT NOT NULL, market_hash BLOB NOT NULL, state_hash BLOB NOT NULL, \
         checksum BIGINT NOT NULL, PRIMARY KEY (view, revision, number))",
    ),
    (
        // `state` is NULL from the cut on at which the part had gone.
        "part",
        "CREATE TABLE part (view TEXT NOT NULL, revision BIGINT NOT NULL, name TEXT NOT NULL, \
         number BIGINT NOT NULL, state BLOB, PRIMARY KEY (view, revision, name, number))",
    ),
    ("part_number", "CREATE INDEX part_number ON part (view, revision, number)"),
    ("part_gone", "CREATE INDEX part_gone ON part (view, revision, name) WHERE state IS NULL"),
    (
        "kept",
        "CREATE TABLE kept (name TEXT NOT NULL, revision BIGINT NOT NULL, \
         version BIGINT NOT NULL, state BLOB NOT NULL, checksum BIGINT NOT NULL, \
         PRIMARY KEY (name))",
    ),
    (
        "archive",
        "CREATE TABLE archive (venue TEXT NOT NULL, instrument TEXT NOT NULL, \
         hour BIGINT NOT NULL, kind TEXT NOT NULL, version BIGINT NOT NULL, \
         candles TEXT NOT NULL, checksum BIGINT NOT NULL, \
         PRIMARY KEY (venue, instrument, hour, kind, version))",
    ),
    (
        "checkpoint",
        "CREATE TABLE checkpoint (reader TEXT NOT NULL, revision BIGINT NOT NULL, \
         ledger BIGINT NOT NULL, ledger_hash BLOB NOT NULL, row_count BIGINT NOT NULL, \
         row_sum BIGINT NOT NULL, checksum BIGINT NOT NULL, PRIMARY KEY (reader))",
    ),
    (
        "lease",
        "CREATE TABLE lease (name TEXT NOT NULL, owner TEXT NOT NULL, fence BIGINT NOT NULL, \
         expires_at BIGINT NOT NULL, PRIMARY KEY (name))",
    ),
];

/// What later versions have added. A database of an earlier one is given it when it is opened.
pub(super) const SCHEMA_ADDED: [(&str, &str); 3] = [
    (
        "account_archive",
        "CREATE TABLE account_archive (account TEXT NOT NULL, kind TEXT NOT NULL, \
         place BIGINT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, checksum BIGINT NOT NULL, \
         PRIMARY KEY (account, kind, place, name))",
    ),
    (
        "account_archive_name",
        "CREATE INDEX account_archive_name ON account_archive (account, kind, name)",
    ),
    (
        // What the archivist knows of positions that are open: these rows change, and go.
        "course",
        "CREATE TABLE course (account TEXT NOT NULL, position_id TEXT NOT NULL, \
         course TEXT NOT NULL, checksum BIGINT NOT NULL, PRIMARY KEY (account, position_id))",
    ),
];
