//! What decides who may come in: keys of tokens, rules, limits, tickets, and the record of it all.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use commands::register::Register;
use commands::register::trail::Trail;
use domain::time::Timestamp;

use crate::auth::token_keys::TokenKeys;
use crate::limits::Limits;
use crate::metrics::Counts;
use crate::neighbours::Neighbours;
use crate::principal::Principal;
use crate::rules::Rules;
use crate::tickets::{Shown, Tag, Tickets};

/// Changed while the door is open: what is swapped counts from the next request on.
pub struct Gate {
    pub token_keys: ArcSwap<TokenKeys>,
    pub rules: ArcSwap<Rules>,
    pub limits: Limits,
    pub tickets: Tickets,
    /// The other nodes; a node alone has none.
    pub neighbours: Option<Arc<dyn Neighbours>>,
    /// What of the door's work is measured.
    pub counts: Counts,
    /// Where what is asked about keys is carried out.
    pub register: Arc<Register>,
    /// Where it is recorded who came.
    pub trail: Arc<Trail>,
}

impl Gate {
    pub fn new(
        token_keys: TokenKeys,
        rules: Rules,
        register: Arc<Register>,
        trail: Arc<Trail>,
    ) -> Self {
        Self {
            token_keys: ArcSwap::from_pointee(token_keys),
            rules: ArcSwap::from_pointee(rules),
            limits: Limits::default(),
            tickets: Tickets::default(),
            neighbours: None,
            counts: Counts::default(),
            register,
            trail,
        }
    }

    /// Returns a gate of one of several nodes.
    #[must_use]
    pub fn beside(self, neighbours: Arc<dyn Neighbours>) -> Self {
        Self { neighbours: Some(neighbours), ..self }
    }

    /// Takes a ticket, wherever it was issued, and returns whose it was. Whatever the outcome, it is
    /// used.
    pub async fn redeem(
        &self,
        ticket: &str,
        address: IpAddr,
        origin: Option<&str>,
        now: Timestamp,
    ) -> Option<Principal> {
        let shown = Shown::of(ticket, address, origin);
        match (Tag::of_ticket(ticket), &self.neighbours) {
            (Some(issuer), Some(neighbours)) if issuer != *self.tickets.tag() => {
                neighbours.redeem(&issuer, &shown).await
            }
            _ => self.tickets.redeem(&shown, now),
        }
    }
}
