//! Our tables in a PostgreSQL: made where they are missing, held against ours, and made again when they
//! are not ours any more.

use std::collections::{BTreeMap, BTreeSet};

use super::SCHEMA_NAME;
use crate::store::StoreError;
use crate::store::database::schema::{SCHEMA, SCHEMA_ADDED};
use crate::store::database::values::Row;
use crate::store::database::{Database, Found, Outlives, Transaction, unreadable};
use crate::store::lease::SHARED_SECONDS_MAX;

/// The one lock under which tables are made: a number of our own, for all who share a database.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7310025184309813614)";

/// Rises when the views below change.
const VIEWS_REVISION: &str = "entasis views 1";

/// For people who ask the database themselves: money as NUMERIC, instants as times. Nothing in the
/// house reads them.
const VIEWS: [(&str, &str); 3] = [
    (
        // Each telling of a minute: one that was corrected stands here twice, and the one of the higher
        // version holds.
        "candle",
        "SELECT venue, instrument, kind, version, (c->>'opened_at')::timestamptz AS opened_at, \
         (c->>'open')::numeric AS open, (c->>'high')::numeric AS high, \
         (c->>'low')::numeric AS low, (c->>'close')::numeric AS close, \
         (c->>'volume')::numeric AS volume, (c->>'quote_volume')::numeric AS quote_volume, \
         (c->>'taker_buy')::numeric AS taker_buy, (c->>'trades')::bigint AS trades \
         FROM archive, jsonb_array_elements(candles::jsonb) AS c",
    ),
    (
        "closed_position",
        "SELECT account, place AS version, name AS position_id, b->>'instrument' AS instrument, \
         b->>'side' AS side, (b->>'leverage')::numeric AS leverage, \
         (b->'life'->>'opened_at')::timestamptz AS opened_at, \
         (b->>'closed_at')::timestamptz AS closed_at, \
         (b->'life'->>'entered_quantity')::numeric AS quantity, \
         (b->'life'->>'entered_cost')::numeric \
         / NULLIF((b->'life'->>'entered_quantity')::numeric, 0) AS entry, \
         (b->'life'->>'exited_cost')::numeric \
         / NULLIF((b->'life'->>'exited_quantity')::numeric, 0) AS exit, \
         (b->'life'->>'entered_cost')::numeric AS entered_cost, \
         (b->'life'->>'exited_cost')::numeric AS exited_cost, \
         (b->>'liquidated')::boolean AS liquidated, (b->>'realized')::numeric AS realized, \
         (b->>'fees')::numeric AS fees, (b->>'funding')::numeric AS funding, \
         b AS body FROM account_archive, LATERAL (SELECT body::jsonb AS b) AS read \
         WHERE kind = 'closed'",
    ),
    (
        "daily_equity",
        "SELECT account, (b->>'day')::timestamptz AS day, (b->>'free')::numeric AS free, \
         (b->>'margin')::numeric AS margin, (b->>'unrealized')::numeric AS unrealized, \
         (b->>'equity')::numeric AS equity \
         FROM account_archive, LATERAL (SELECT body::jsonb AS b) AS read WHERE kind = 'day'",
    ),
];

/// Makes our tables where there are none, and holds those that are there against ours. What is not
/// ours any more is made anew, unless another node is using it.
pub(in crate::store::database) async fn hold(database: &Database) -> Result<Found, StoreError> {
    let mut write = database.write(Outlives::PowerLoss).await?;
    write.lock_schema().await?;
    let stands = write.tables().await?;
    let known = |name: &str| tables().any(|(known, _)| known == name);
    let found = if !stands.keys().any(|name| known(name)) {
        Found::Made
    } else if is_whole(&stands) {
        Found::There
    } else {
        let lease = expected("lease").is_some_and(|lease| stands.get("lease") == Some(&lease));
        if lease && write.any_lease_lasts(SHARED_SECONDS_MAX).await? {
            let reason = "its tables are not those of this version, and another node uses them: end \
                          that one, or give another database";
            return Err(StoreError::Unreachable(reason.to_owned()));
        }
        write.drop_tables(lease).await?;
        Found::Emptied("its tables are not those of this version".to_owned())
    };
    write.make_tables().await?;
    write.commit().await?;
    Ok(found)
}

/// Empties what is damaged, and makes it anew. The leases stay where they can.
pub(in crate::store) async fn begin_anew(database: &Database) -> Result<(), StoreError> {
    let mut write = database.write(Outlives::PowerLoss).await?;
    write.lock_schema().await?;
    let stands = write.tables().await?;
    let lease = expected("lease").is_some_and(|lease| stands.get("lease") == Some(&lease));
    write.drop_tables(lease).await?;
    write.make_tables().await?;
    write.commit().await
}

/// Returns whether the tables that every version has are there as they should be. What else stands in
/// the schema is somebody else's report.
fn is_whole(stands: &BTreeMap<String, Vec<String>>) -> bool {
    let as_expected = |name: &str| stands.get(name) == expected(name).as_ref();
    let added = |name: &str| SCHEMA_ADDED.iter().any(|(added, _)| *added == name);
    tables().all(|(name, _)| as_expected(name) || added(name) && !stands.contains_key(name))
}

/// Returns name and statement of each table, and of nothing else.
fn tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCHEMA
        .into_iter()
        .chain(SCHEMA_ADDED)
        .filter(|(_, statement)| statement.starts_with("CREATE TABLE"))
}

/// Returns the columns of a table of ours as the server describes them.
fn expected(table: &str) -> Option<Vec<String>> {
    let (_, statement) = tables().find(|(name, _)| *name == table)?;
    let (_, columns) = statement.split_once(" (")?;
    let (columns, _) = columns.split_once(", PRIMARY KEY")?;
    let column = |column: &str| {
        let mut words = column.split(' ');
        let (name, kind) = (words.next()?, words.next()?);
        let kind = match kind {
            "BLOB" => "bytea".to_owned(),
            kind => kind.to_lowercase(),
        };
        Some(format!("{name} {kind} {}", words.next().is_some()))
    };
    columns.split(", ").map(column).collect()
}

/// Returns a statement in the words of PostgreSQL. Names are in order of their bytes, as everywhere in
/// the house.
fn in_words_of_postgres(statement: &str) -> String {
    statement.replace("BLOB", "BYTEA").replace(" TEXT", " TEXT COLLATE \"C\"")
}

impl Transaction<'_> {
    async fn lock_schema(&mut self) -> Result<(), StoreError> {
        self.script("SET LOCAL lock_timeout = '15s'").await?;
        self.script(LOCK).await
    }

    /// Returns the tables in our schema, each with its columns.
    async fn tables(&mut self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let rows = self
            .all(
                "SELECT CAST(c.relname AS TEXT), CAST(a.attname AS TEXT), \
                 format_type(a.atttypid, a.atttypmod), CAST(CAST(a.attnotnull AS INTEGER) AS BIGINT) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 \
                 AND NOT a.attisdropped ORDER BY c.relname, a.attnum",
                &[SCHEMA_NAME.into()],
            )
            .await?;
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in &rows {
            let column = |row: &Row| {
                let (name, kind) = (row.text(1)?, row.text(2)?);
                Some((row.text(0)?, format!("{name} {kind} {}", row.integer(3)? == 1)))
            };
            let (table, column) = column(row).ok_or_else(unreadable)?;
            tables.entry(table).or_default().push(column);
        }
        Ok(tables)
    }

    /// Returns the names of a kind of things in our schema.
    async fn names(&mut self, kind: &'static str) -> Result<BTreeSet<String>, StoreError> {
        let rows = self
            .all(
                "SELECT CAST(c.relname AS TEXT) FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND CAST(c.relkind AS TEXT) = $2",
                &[SCHEMA_NAME.into(), kind.into()],
            )
            .await?;
        rows.iter().map(|row| row.text(0)).collect::<Option<_>>().ok_or_else(unreadable)
    }

    /// Makes what is missing, and the views when they are of another revision.
    async fn make_tables(&mut self) -> Result<(), StoreError> {
        let schema = "SELECT nspname::text FROM pg_namespace WHERE nspname = $1";
        if self.one(schema, &[SCHEMA_NAME.into()]).await?.is_none() {
            self.script_of(format!("CREATE SCHEMA {SCHEMA_NAME}").into()).await?;
        }
        let (tables, indexes) = (self.names("r").await?, self.names("i").await?);
        for (name, statement) in SCHEMA.iter().chain(&SCHEMA_ADDED) {
            if !tables.contains(*name) && !indexes.contains(*name) {
                self.script_of(in_words_of_postgres(statement).into()).await?;
            }
        }
        let revision = "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c \
                        JOIN pg_namespace n ON n.oid = c.relnamespace \
                        WHERE n.nspname = $1 AND c.relname = 'daily_equity'";
        let revision = self.one(revision, &[SCHEMA_NAME.into()]).await?;
        let views = self.names("v").await?;
        if revision.and_then(|row| row.text(0)).as_deref() != Some(VIEWS_REVISION)
            || VIEWS.iter().any(|(name, _)| !views.contains(*name))
        {
            for (name, statement) in VIEWS {
                let script = format!(
                    "DROP VIEW IF EXISTS {name} CASCADE; CREATE VIEW {name} AS {statement}"
                );
                self.script_of(script.into()).await?;
            }
            let script = format!("COMMENT ON VIEW daily_equity IS '{VIEWS_REVISION}'");
            self.script_of(script.into()).await?;
        }
        Ok(())
    }

    async fn drop_tables(&mut self, but_leases: bool) -> Result<(), StoreError> {
        for (name, _) in tables().filter(|(name, _)| !(but_leases && *name == "lease")) {
            self.script_of(format!("DROP TABLE IF EXISTS {name} CASCADE").into()).await?;
        }
        Ok(())
    }
}
