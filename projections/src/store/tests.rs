//! The store beside two logs in memory and the real views. A test's chance has a seed and prints it.

mod accounts;
mod archive;
mod connecting;
mod contract;
mod damage;
mod failures;
mod golden;
mod house;
mod kept;
mod outages;
pub(super) mod place;
mod shared;
mod snapshots;
