//! The way out: views fold entries into what the house answers with.
//!
//! Read in this order: what a view is (`view`), the views (`prices`, `candles`, with `history` for
//! its queries, `books`, `holdings`, with `valuation` for what they are worth, and `access`), all of them
//! together (`views`), what feeds them from the logs (`projector`), and where they outlive the process
//! (`store`).

pub mod access;
pub mod books;
pub mod candles;
pub mod history;
pub mod holdings;
pub mod prices;
pub mod projector;
pub mod store;
pub mod valuation;
pub mod view;
pub mod views;

mod part;

#[cfg(test)]
mod sample;
