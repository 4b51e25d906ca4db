//! What decides who may come in: keys of tokens, rules, limits, tickets, and the record of it all.

use std::sync::Arc;

use arc_swap::ArcSwap;
use commands::register::Register;
use commands::register::trail::Trail;

use crate::auth::token_keys::TokenKeys;
use crate::limits::Limits;
use crate::rules::Rules;
use crate::tickets::Tickets;

/// Changed while the door is open: what is swapped counts from the next request on.
pub struct Gate {
    pub token_keys: ArcSwap<TokenKeys>,
    pub rules: ArcSwap<Rules>,
    pub limits: Limits,
    pub tickets: Tickets,
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
            register,
            trail,
        }
    }
}
