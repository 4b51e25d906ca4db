//! Who somebody is: what they present, what it says, and whether it is good.
//!
//! Read in this order: how a key is written (`auth/key_text`), the keys that tokens are signed with
//! (`auth/token_keys`), what a token says and when it is good (`auth/token`), what a request presents
//! (`auth/credentials`), and how all of it is judged together (`auth/judge`).

pub mod key_text;

pub mod token_keys;

pub mod token;

pub mod credentials;

pub mod judge;
