//! What logs have in common that stand behind a network: how an entry gets into one though answers are
//! lost (`append` of what is in `outgoing`, with what is known of the newest entries in `tips`), and where the newest are held
//! for those who follow (`ring`).
//!
//! A server keeps entries under numbers of its own, and checks one of them when it takes an entry.
//! That check alone decides who has a version; all that is remembered here saves a question.

pub(crate) mod place;

pub(crate) mod append;
pub(crate) mod outgoing;
pub(crate) mod tips;

pub(crate) mod ring;
