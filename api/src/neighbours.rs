//! The other nodes of the house, as far as the door needs them.

use async_trait::async_trait;

use crate::principal::Principal;
use crate::tickets::{Shown, Tag};

/// Reaches the other nodes. What they accept of each account is told by whoever stands behind this,
/// with `Limits::tell` and `Limits::take_in`.
#[async_trait]
pub trait Neighbours: Send + Sync {
    /// Has the node that issued a ticket take it, and returns whose it was. `None` when it is no good
    /// there, and when that node does not answer soon: then nobody knows whose it is.
    async fn redeem(&self, issuer: &Tag, shown: &Shown) -> Option<Principal>;
}
