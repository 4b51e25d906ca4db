//! Where venues are reached, other than at their own addresses.

use anyhow::{Context, Result, ensure};
use domain::instrument::Venue;
use feeds::feed::Addresses;
use serde::Deserialize;

/// `[venues.binance]`: where a venue is reached. In a variable: `ENTASIS_VENUES__BINANCE__WS_URL`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct VenueKeys {
    ws_url: Option<String>,
    rest_url: Option<String>,
}

/// Reads where a venue is reached. A name that no feed can have is a slip of the pen.
pub(super) fn addresses((name, keys): (String, VenueKeys)) -> Result<(Venue, Addresses)> {
    ensure!(feeds::venues::is_live(&name), "venues.{name}: there is no live adapter of this name");
    let url = |key: &str, url: Option<String>, schemes: [&str; 2]| {
        let fits = |url: &String| schemes.iter().any(|scheme| url.starts_with(scheme));
        let [plain, secure] = schemes;
        ensure!(
            url.as_ref().is_none_or(fits),
            "venues.{name}.{key}: expected {secure}… or {plain}…"
        );
        Ok(url)
    };
    let ws_url = url("ws_url", keys.ws_url, ["ws://", "wss://"])?;
    let rest_url = url("rest_url", keys.rest_url, ["http://", "https://"])?;
    let venue = name.parse().with_context(|| format!("venues.{name}"))?;
    Ok((venue, Addresses { ws_url, rest_url }))
}
