//! Getting into positions and out of them.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]

pub mod asked;

pub mod told;

use std::sync::Arc;

use commands::desk::{self, DeskError, Order};
use domain::account::Account;
use domain::account::command::{AccountCommand, OpenPosition, Refusal};
use domain::account::position::{Position, PositionId};
use domain::amount::{Quantity, scale_that_counts};
use domain::fill::Fill;
use domain::instrument::Instrument;
use poem::Result;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use serde_json::json;

use crate::app::App;
use crate::body::{Empty, Strict};
use crate::consistency::Token;
use crate::idempotency::Named;
use crate::market::Tag;
use crate::orders::{self, Carried, Settled, Unmade, canonical, open_position, order};
use crate::positions::position_id_of;
use crate::principal::PortfolioWriter;
use crate::problem::Problem;
use crate::trading::asked::{Asked, ReducePositionBody};
use crate::trading::told::{ExitedBody, OpenAnswer, OpenedBody, WeighedBody};

/// What the specification calls it when a command was carried out.
pub const SUCCESS: &str = "success";

pub struct TradingApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Portfolio")]
impl TradingApi {
    /// Close a position
    ///
    /// All that is left of it. To close one that is closed is no error: it is so already.
    #[oai(
        path = "/portfolio/positions/:position_id/close",
        method = "post",
        operation_id = "close_position"
    )]
    async fn close(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// The name of the position.
        position_id: Path<String>,
        _body: Empty,
    ) -> Result<Settled<ExitedBody>> {
        let id = position_id_of(&position_id.0)?;
        let append_id = desk::append_id(writer.account(), &named.key);
        let text = json!({"command": "close_position", "position_id": id});
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let command = |account: &Account| {
            let position = open_position(account, &id)?;
            let fill = self.0.exit_fill(position, position.quantity)?;
            let terms = self.0.terms.of(&position.instrument);
            Ok(AccountCommand::ClosePosition { position_id: id, fill, terms })
        };
        let carried = self.0.carry_out_unless_closed(order, command).await?;
        Ok(carried.settled(ExitedBody::of(id, &carried, self.0.clock.now())))
    }

    /// Reduce a position
    ///
    /// Closes a part of it, never more than is open.
    #[oai(
        path = "/portfolio/positions/:position_id/reduce",
        method = "post",
        operation_id = "reduce_position"
    )]
    async fn reduce(
        &self,
        writer: PortfolioWriter,
        named: Named,
        /// The name of the position.
        position_id: Path<String>,
        body: Strict<ReducePositionBody>,
    ) -> Result<Settled<ExitedBody>> {
        let (id, Strict(quantity)) = (position_id_of(&position_id.0)?, body);
        let append_id = desk::append_id(writer.account(), &named.key);
        let size = canonical(quantity.value());
        let text = json!({"command": "reduce_position", "position_id": id, "size": size});
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let command = |account: &Account| {
            let position = open_position(account, &id)?;
            self.0.check_listed(&position.instrument, quantity)?;
            let fill = self.0.exit_fill(position, quantity)?;
            let terms = self.0.terms.of(&position.instrument);
            Ok(AccountCommand::ReducePosition { position_id: id, fill, terms })
        };
        let carried = self.0.carry_out(order, command).await?;
        Ok(carried.settled(ExitedBody::of(id, &carried, self.0.clock.now())))
    }
}

impl App {
    /// Opens what is asked for, or only weighs it.
    pub async fn open(
        &self,
        writer: &PortfolioWriter,
        named: Named,
        is_dry_run: bool,
        asked: &Asked,
    ) -> Result<OpenAnswer, Problem> {
        let append_id = desk::append_id(writer.account(), &named.key);
        let position_id = desk::position_id(append_id);
        let command = |_: &Account| self.opening(asked, position_id);
        if is_dry_run {
            let weighed = self.weigh(writer.account(), command).await?;
            let body = WeighedBody::of(asked, &weighed.events, weighed.account.free())?;
            return Ok(OpenAnswer::Weighed(Json(body)));
        }
        let text = json!({
            "command": "open_position",
            "symbol": asked.instrument,
            "size": canonical(asked.quantity.value()),
            "type": asked.side,
            "leverage": canonical(asked.leverage.value()),
            "reduce_only": asked.reduce_only,
        });
        let order = order(writer.account(), append_id, &text, writer.actor(), named);
        let carried = self.carry_out(order, command).await?;
        let body = OpenedBody::of(asked, &carried, self.clock.now())?;
        Ok(OpenAnswer::Opened(Json(body), carried.token.text(), carried.told_replayed()))
    }

    fn opening(&self, asked: &Asked, position_id: PositionId) -> Result<AccountCommand, Unmade> {
        // Not before: what was done already is answered as it was, whatever a venue lists by now.
        self.check_listed(&asked.instrument, asked.quantity)?;
        let fill = self.fill(&asked.instrument, asked.side.entry(), asked.quantity)?;
        Ok(AccountCommand::OpenPosition(OpenPosition {
            position_id,
            instrument: asked.instrument.clone(),
            side: asked.side,
            leverage: asked.leverage,
            reduce_only: asked.reduce_only,
            fill,
            terms: self.terms.of(&asked.instrument),
        }))
    }

    /// Returns what getting out of a position would get.
    fn exit_fill(&self, position: &Position, quantity: Quantity) -> Result<Fill, Problem> {
        self.fill(&position.instrument, position.side.exit(), quantity)
    }

    /// Carries out what is so already when the position is closed.
    async fn carry_out_unless_closed(
        &self,
        order: Order,
        command: impl Fn(&Account) -> Result<AccountCommand, Unmade> + Send + Sync,
    ) -> Result<Carried, Problem> {
        match self.desk.submit(order.clone(), command).await {
            Err(DeskError::Unquoted(Unmade::Refused(Refusal::PositionClosed))) => {
                let head = self.ledger.head().await.map_err(|error| orders::of_log(&error))?;
                Ok(Carried { entry: None, token: Token(head), replayed: false })
            }
            outcome => self.told(&order, outcome).await,
        }
    }

    /// Refuses a size that is finer than the venue trades.
    fn check_listed(&self, instrument: &Instrument, quantity: Quantity) -> Result<(), Problem> {
        let venue = self.known(instrument)?;
        let scale = self.listing(&venue, instrument).map(|listing| listing.quantity_scale);
        match scale.filter(|scale| is_finer(quantity, *scale)) {
            Some(scale) => {
                let reason = format!("more than the {scale} digits after the point of {venue}");
                Err(Problem::field("size", reason))
            }
            None => Ok(()),
        }
    }
}

/// Whether a size has more digits that count than are traded.
fn is_finer(quantity: Quantity, scale: u32) -> bool {
    scale_that_counts(quantity.value()) > scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_make_a_size_no_finer() {
        for (size, finer) in [("1.500", false), ("1.55", true), ("10", false), ("0.05", true)] {
            assert_eq!(is_finer(size.parse().unwrap(), 1), finer, "{size}");
        }
    }
}
