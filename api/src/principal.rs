//! Who asks, and what they may do: the one place that says so.

use poem::{FromRequest, Request, RequestBody, Result};

/// The proof that whoever asks may read the market.
///
/// Nobody has to say who they are yet, and anybody may read the market. A handler that takes this
/// will ask the right thing once that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketReader(());

impl<'a> FromRequest<'a> for MarketReader {
    async fn from_request(_request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(()))
    }
}
