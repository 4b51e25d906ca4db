//! How much each address holds at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addresses::counted;

/// Counts by address. It has one row for each address that holds something, so it is as bounded as
/// what is held.
#[derive(Debug)]
pub struct Admission {
    held: Mutex<BTreeMap<IpAddr, usize>>,
    max: usize,
}

/// One thing that an address holds, until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// Returns a count of which each address may hold `max`.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), max })
    }

    /// Returns what the address now holds one more of; `None` when it has enough.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let address = counted(address);
        let mut held = self.held();
        let count = held.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Admitted { admission: Arc::clone(self), address })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut held = self.admission.held();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_lets_go_may_enter_again() {
        let admission = Admission::new(1);
        let address = "10.0.0.1".parse().unwrap();

        let held = admission.enter(address).unwrap();
        assert!(admission.enter("::ffff:10.0.0.1".parse().unwrap()).is_none());
        assert!(admission.enter("10.0.0.2".parse().unwrap()).is_some());

        drop(held);
        assert!(admission.enter(address).is_some());
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let admission = Admission::new(1);

        let _held = admission.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.enter("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(admission.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
