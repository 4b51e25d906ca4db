//! What is bound to a statement, and what is read from a row, whichever database it is.

use std::borrow::Cow;

use domain::time::Timestamp;
use eventlog::entry::{Hash, Offset, Version};
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};

/// What is bound to a statement.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Integer(i64),
    Text(Cow<'a, str>),
    Bytes(Option<&'a [u8]>),
    /// Many at once, as only a server takes them.
    ManyTexts(Vec<&'a str>),
    ManyBytes(Vec<Option<&'a [u8]>>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

/// Past the greatest signed number it is negative, and is read back as it was.
impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Integer(value.cast_signed())
    }
}

impl From<Offset> for Value<'_> {
    fn from(Offset(value): Offset) -> Self {
        value.into()
    }
}

impl From<Version> for Value<'_> {
    fn from(Version(value): Version) -> Self {
        value.into()
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Integer(value.micros())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a Hash> for Value<'a> {
    fn from(value: &'a Hash) -> Self {
        Self::Bytes(Some(value.0.as_slice()))
    }
}

pub(super) fn for_sqlite<'a>(
    statement: &'static str,
    values: &'a [Value<'_>],
) -> sqlx::query::Query<'a, sqlx::Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Integer(value) => query.bind(*value),
        Value::Text(value) => query.bind(&**value),
        Value::Bytes(value) => query.bind(*value),
        Value::ManyTexts(_) | Value::ManyBytes(_) => unreachable!("a file is asked row by row"),
    })
}

pub(super) fn for_postgres<'a>(
    statement: &'static str,
    values: &'a [Value<'_>],
) -> sqlx::query::Query<'a, sqlx::Postgres, PgArguments> {
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Integer(value) => query.bind(*value),
        Value::Text(value) => query.bind(&**value),
        Value::Bytes(value) => query.bind(*value),
        Value::ManyTexts(values) => query.bind(values),
        Value::ManyBytes(values) => query.bind(values),
    })
}

/// A row that was read. A column that is of another kind than asked for does not read.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn integer(&self, column: usize) -> Option<i64> {
        match self {
            Self::Sqlite(row) => row.try_get(column).ok(),
            Self::Postgres(row) => row.try_get(column).ok(),
        }
    }

    pub(super) fn number(&self, column: usize) -> Option<u64> {
        self.integer(column).map(i64::cast_unsigned)
    }

    pub(super) fn timestamp(&self, column: usize) -> Option<Timestamp> {
        self.integer(column).map(Timestamp::from_micros)
    }

    pub(super) fn text(&self, column: usize) -> Option<String> {
        match self {
            Self::Sqlite(row) => row.try_get(column).ok(),
            Self::Postgres(row) => row.try_get(column).ok(),
        }
    }

    pub(super) fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        match self {
            Self::Sqlite(row) => row.try_get(column).ok(),
            Self::Postgres(row) => row.try_get(column).ok(),
        }
    }

    pub(super) fn hash(&self, column: usize) -> Option<Hash> {
        self.bytes(column)?.try_into().ok().map(Hash)
    }
}
