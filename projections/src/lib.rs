//! The way out: views fold entries into what the house answers with.
//!
//! Read in this order: what a view is (`view`), the views (`prices`, `candles`, with `history` for
//! its queries, and `books`), all of them together (`views`), and what feeds them from the logs
//! (`projector`).

pub mod books;
pub mod candles;
pub mod history;
pub mod prices;
pub mod projector;
pub mod view;
pub mod views;

#[cfg(test)]
mod sample;
