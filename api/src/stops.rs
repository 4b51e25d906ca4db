//! When a position is to be closed by itself.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

use std::sync::Arc;

use commands::desk;
use domain::account::Account;
use domain::account::command::AccountCommand;
use domain::account::event::AccountEvent;
use domain::account::position::{Position, PositionId};
use domain::amount::Price;
use domain::fill::MarketEntry;
use domain::instrument::Instrument;
use eventlog::entry::Version;
use poem::Result;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use rust_decimal::Decimal;
use serde_json::json;

use crate::app::App;
use crate::body::{Body, Fields, Strict};
use crate::idempotency::Named;
use crate::market::{EntryBody, Tag};
use crate::orders::{Carried, Settled, Unmade, canonical, open_position, order};
use crate::positions::position_id_of;
use crate::principal::PortfolioWriter;
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Positive, Ts};
use crate::trading::SUCCESS;

pub struct StopsApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Portfolio")]
impl StopsApi {
    /// Set the stops of a position
    ///
    /// These replace those before; what is left out is none. The first trade that comes after and
    /// meets one closes the position. A stop that the last price meets already is refused.
    #[oai(
        path = "/portfolio/positions/:position_id/stops",
        method = "put",
        operation_id = "set_stops"
    )]
    async fn set(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// The name of the position.
        position_id: Path<String>,
        body: Strict<SetStopsBody>,
    ) -> Result<Settled<StopsBody>> {
        let (id, Strict(stops)) = (position_id_of(&position_id.0)?, body);
        let command = |account: &Account| {
            let position = open_position(account, &id)?;
            let (mark, market) = self.0.fresh_mark(&position.instrument)?;
            Ok(stops.command(id, mark, market))
        };
        self.0.set_stops(&writer, named, id, stops, command).await.map_err(Into::into)
    }

    /// Remove the stops of a position
    #[oai(
        path = "/portfolio/positions/:position_id/stops",
        method = "delete",
        operation_id = "remove_stops"
    )]
    async fn remove(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// The name of the position.
        position_id: Path<String>,
    ) -> Result<Settled<StopsBody>> {
        let (id, stops) = (position_id_of(&position_id.0)?, StopPrices::default());
        let command = |account: &Account| {
            let position = open_position(account, &id)?;
            let (mark, market) = self.0.any_mark(position)?;
            Ok(stops.command(id, mark, market))
        };
        self.0.set_stops(&writer, named, id, stops, command).await.map_err(Into::into)
    }
}

impl App {
    async fn set_stops(
        &self,
        writer: &PortfolioWriter,
        named: Named,
        id: PositionId,
        stops: StopPrices,
        command: impl Fn(&Account) -> Result<AccountCommand, Unmade> + Send + Sync,
    ) -> Result<Settled<StopsBody>, Problem> {
        let append_id = desk::append_id(writer.account(), &named.key);
        let text = |price: Option<Price>| price.map(|price| canonical(price.value()));
        let text = json!({
            "command": "set_stops",
            "position_id": id,
            "stop_loss": text(stops.stop_loss),
            "take_profit": text(stops.take_profit),
        });
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let carried = self.carry_out(order, command).await?;
        let set = carried.events().find_map(StopPrices::of).unwrap_or(stops);
        let body = StopsBody::of(id, set, &carried, Ts(carried.happened_at(self.clock.now())));
        Ok(carried.settled(body))
    }

    /// Returns the last price by which stops are judged, and the market as it stands.
    fn fresh_mark(&self, instrument: &Instrument) -> Result<(Price, MarketEntry), Problem> {
        let venue = self.known(instrument)?;
        let now = self.feeds.now(&venue, self.clock.as_ref());
        let mark = self
            .views
            .sight(instrument, now, |sight| sight.last.map(|last| (last, sight.market.clone())));
        mark.flatten().ok_or_else(|| {
            let detail = format!("there is no fresh price of {instrument}");
            Problem::new(Code::VenueUnreachable, self.with_reason(&venue, detail))
        })
    }

    /// Returns any price: to remove stops nothing is judged.
    fn any_mark(&self, position: &Position) -> Result<(Price, MarketEntry), Problem> {
        let quote = self.views.quote(&position.instrument).ok_or_else(|| {
            let detail = format!("there is no price of {} yet", position.instrument);
            Problem::new(Code::VenueUnreachable, detail)
        })?;
        let Version(version) = quote.version;
        let (venue, instrument) = (quote.venue, quote.instrument);
        Ok((quote.tick.price, MarketEntry { venue, instrument, version }))
    }
}

/// Stops that are asked for; none without a price.
#[derive(Debug, Clone, Copy, Default)]
pub struct StopPrices {
    stop_loss: Option<Price>,
    take_profit: Option<Price>,
}

impl StopPrices {
    /// Returns what was set, with the digits that it was first written with.
    const fn of(event: &AccountEvent) -> Option<Self> {
        match *event {
            AccountEvent::StopsSet { stop_loss, take_profit, .. } => {
                Some(Self { stop_loss, take_profit })
            }
            _ => None,
        }
    }

    const fn command(self, id: PositionId, mark: Price, market: MarketEntry) -> AccountCommand {
        let Self { stop_loss, take_profit } = self;
        AccountCommand::SetStops { position_id: id, stop_loss, take_profit, mark, market }
    }
}

/// At least one of the two.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct SetStopsBody {
    /// The price at which a loss is cut; none when null or absent.
    stop_loss: Option<Positive>,
    /// The price at which a profit is taken; none when null or absent.
    take_profit: Option<Positive>,
}

impl Body for SetStopsBody {
    type Read = StopPrices;

    fn read(fields: &mut Fields) -> Option<StopPrices> {
        let price = |value: Decimal| Price::new(value).map_err(|error| error.to_string());
        let stop_loss = fields.amount("stop_loss", price);
        let take_profit = fields.amount("take_profit", price);
        if stop_loss.is_none() && take_profit.is_none() && !fields.are_wrong() {
            return fields.wrong("stop_loss", "give stop_loss, take_profit, or both");
        }
        Some(StopPrices { stop_loss, take_profit })
    }
}

/// The stops of a position as they are now.
#[derive(Object)]
struct StopsBody {
    position_id: String,
    status: String,
    timestamp: Ts,
    stop_loss: Option<Dec>,
    take_profit: Option<Dec>,
    entry: Option<EntryBody>,
    token: String,
}

impl StopsBody {
    fn of(id: PositionId, stops: StopPrices, carried: &Carried, timestamp: Ts) -> Self {
        Self {
            position_id: id.to_string(),
            status: SUCCESS.to_owned(),
            timestamp,
            stop_loss: stops.stop_loss.map(|price| Dec(price.value())),
            take_profit: stops.take_profit.map(|price| Dec(price.value())),
            entry: carried.entry_body(),
            token: carried.token.text(),
        }
    }
}
