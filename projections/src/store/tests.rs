//! The store beside two logs in memory and the real views. A test's chance has a seed and prints it.

mod accounts;
mod archive;
mod damage;
mod failures;
mod golden;
mod house;
mod kept;
mod snapshots;
