//! The way in: what happens outside becomes entries in the log.
//!
//! Read in this order: where time comes from (`clock`), what is known of each feed (`feed_status`),
//! how an entry is written (`pen`), how what a feed hears becomes events (`intake`): what goes in
//! together (`intake/slice`), the session's own book (`intake/own_book`), one market's entries
//! (`intake/recorder`), what of it is kept for the next run and when (`intake/kept`,
//! `intake/keeper`), and the venue's own bars (`intake/native`); on what terms accounts trade
//! (`terms`), and how what is asked of accounts is carried out (`desk`): whose turn it is
//! (`desk/seats`), an account as its stream has made it (`desk/folded`), how far a stream was read
//! (`desk/reach`) and which commands are known again (`desk/keys`), what is kept of an account
//! (`desk/kept`), and how long a client is kept waiting for the log (`desk/appending`). Last, how positions are closed when the market says so (`guardian`):
//! which conditions stand (`guardian/conditions`), by price (`guardian/armed`), one market as it
//! stood at an entry (`guardian/seen`), how to go back in it (`guardian/watched`), how a condition
//! fires (`guardian/firing`), what is kept for the next run (`guardian/kept`), and how the logs are
//! read (`guardian/reading`).
//!
//! And the door: how keys are given and taken (`register`), from the keys as their stream has made
//! them (`register/folded`), and what is recorded of who came (`register/trail`): what is only
//! counted because it comes too fast (`trail/flood`), and what waits to be written (`trail/waiting`).

pub mod clock;

pub mod feed_status;

pub mod pen;

pub mod intake;

pub mod terms;

pub mod desk;

pub mod guardian;

pub mod register;
