//! Where time comes from.

use domain::time::Timestamp;

/// Asked for the time by everything that needs it. Only `engine` has the real one.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}
