//! The SQL of the archive's hours.

use domain::instrument::{Instrument, Venue};
use domain::time::Timestamp;
use eventlog::entry::Version;

use crate::store::StoreError;
use crate::store::archive::Direction;
use crate::store::database::Transaction;
use crate::store::database::values::Row;
use crate::store::rows::{ArchivedHour, Kind, checksum_of_hour};

impl Transaction<'_> {
    /// Returns the market that comes first in the archive after another, in order of its names;
    /// `None` when there is no more, `Some(None)` when it does not read.
    pub(in crate::store) async fn market_after(
        &mut self,
        (venue, instrument): (&str, &str),
    ) -> Result<Option<Option<(Venue, Instrument)>>, StoreError> {
        let row = self
            .one(
                "SELECT venue, instrument FROM archive WHERE (venue, instrument) > ($1, $2) \
             ORDER BY venue, instrument LIMIT 1",
                &[venue.into(), instrument.into()],
            )
            .await?;
        let market = |row: Row| Some((row.text(0)?.parse().ok()?, row.text(1)?.parse().ok()?));
        Ok(row.map(market))
    }

    /// Returns the rows of up to `hours_max` hours of a market that begin in `from..until`: the
    /// oldest hours or the newest, in order of hour, version and kind, each with its checksum.
    /// `None` when a row is not sound.
    pub(in crate::store) async fn hours(
        &mut self,
        (venue, instrument): (&Venue, &Instrument),
        (from, until): (Timestamp, Timestamp),
        direction: Direction,
        hours_max: u32,
    ) -> Result<Option<Vec<(ArchivedHour, u64)>>, StoreError> {
        let statement = match direction {
            Direction::Forward => {
                "SELECT hour, version, kind, candles, checksum FROM archive \
                 WHERE venue = $1 AND instrument = $2 AND hour IN (SELECT DISTINCT hour \
                 FROM archive WHERE venue = $3 AND instrument = $4 AND hour >= $5 AND hour < $6 \
                 ORDER BY hour LIMIT $7) ORDER BY hour, version, kind"
            }
            Direction::Backward => {
                "SELECT hour, version, kind, candles, checksum FROM archive \
                 WHERE venue = $1 AND instrument = $2 AND hour IN (SELECT DISTINCT hour \
                 FROM archive WHERE venue = $3 AND instrument = $4 AND hour >= $5 AND hour < $6 \
                 ORDER BY hour DESC LIMIT $7) ORDER BY hour, version, kind"
            }
        };
        let (venue_name, instrument_name) = (venue.to_string(), instrument.to_string());
        let rows = self
            .all(
                statement,
                &[
                    venue_name.as_str().into(),
                    instrument_name.as_str().into(),
                    venue_name.as_str().into(),
                    instrument_name.as_str().into(),
                    from.into(),
                    until.into(),
                    hours_max.into(),
                ],
            )
            .await?;
        Ok(rows.iter().map(|row| archived_hour((venue, instrument), row)).collect())
    }

    /// Adds a row to the archive; returns its checksum, or `None` when it is there already.
    pub(in crate::store) async fn insert_hour(
        &mut self,
        market: (&Venue, &Instrument),
        key: (Timestamp, Version, Kind),
        candles: &str,
    ) -> Result<Option<u64>, StoreError> {
        let checksum = checksum_of_hour(market, key, candles);
        let ((venue, instrument), (hour, version, kind)) = (market, key);
        let added = self
            .done(
                "INSERT INTO archive (venue, instrument, hour, kind, version, candles, checksum) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                &[
                    venue.to_string().into(),
                    instrument.to_string().into(),
                    hour.into(),
                    kind.as_str().into(),
                    version.into(),
                    candles.into(),
                    checksum.into(),
                ],
            )
            .await?;
        Ok((added > 0).then_some(checksum))
    }

    /// Whether the table of the archive's hours and its indexes agree.
    pub(in crate::store) async fn hours_agree(&mut self) -> Result<bool, StoreError> {
        self.is_ok("PRAGMA integrity_check(archive)").await
    }

    /// Deletes all hours of the archive and how far it had come.
    pub(in crate::store) async fn empty_hours(&mut self, reader: &str) -> Result<(), StoreError> {
        self.script("DELETE FROM archive").await?;
        self.delete_checkpoint(reader).await
    }
}

fn archived_hour(market: (&Venue, &Instrument), row: &Row) -> Option<(ArchivedHour, u64)> {
    let (hour, version) = (row.timestamp(0)?, Version(row.number(1)?));
    let kind = row.text(2)?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let candles = row.text(3)?;
    let checksum = checksum_of_hour(market, (hour, version, kind), &candles);
    let sound = checksum == row.number(4)?;
    let candles = serde_json::from_str(&candles).ok().filter(|_| sound)?;
    Some((ArchivedHour { hour, kind, version, candles }, checksum))
}
