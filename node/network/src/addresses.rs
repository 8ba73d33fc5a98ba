//! Which address is whose. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{NetworkError, Subnet};

/// The addresses of one range. The next one given is the one after the last, so that an address rests before somebody
/// else gets it and neighbours' ARP entries age.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Subnet,
    used: BTreeMap<IpAddr, String>,
    last: IpAddr,
}

impl Addresses {
    pub(crate) fn new(subnet: Subnet) -> Self {
        Self { subnet, used: BTreeMap::new(), last: subnet.gateway() }
    }

    /// Notes an address of an earlier run. False when it is outside the range or somebody else's.
    pub(crate) fn claim(&mut self, address: IpAddr, uid: &str) -> bool {
        let inside = self.subnet.contains(address) && address > self.subnet.gateway() && address < self.subnet.last();
        if !inside || self.used.get(&address).is_some_and(|owner| owner != uid) {
            return false;
        }
        self.used.insert(address, uid.to_owned());
        self.last = self.last.max(address);
        true
    }

    pub(crate) fn allocate(&mut self, uid: &str) -> Result<IpAddr, NetworkError> {
        let after = self.subnet.pod_addresses().skip_while(|a| *a <= self.last);
        let free = after.chain(self.subnet.pod_addresses()).find(|a| !self.used.contains_key(a));
        let address =
            free.ok_or(NetworkError::AddressesExhausted { subnet: self.subnet, capacity: self.subnet.pod_addresses().count() })?;
        self.used.insert(address, uid.to_owned());
        self.last = address;
        Ok(address)
    }

    pub(crate) fn release(&mut self, address: IpAddr, uid: &str) {
        if self.used.get(&address).is_some_and(|owner| owner == uid) {
            self.used.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subnet: &str) -> Addresses {
        Addresses::new(subnet.parse().unwrap())
    }

    #[test]
    fn a_released_address_rests_until_the_others_had_their_turn() {
        let mut addresses = of("10.64.0.0/29");
        let first = addresses.allocate("a").unwrap();
        addresses.release(first, "a");
        let next: Vec<_> = (0..5).map(|i| addresses.allocate(&format!("p{i}")).unwrap()).collect();
        assert_eq!(next.last(), Some(&first));
        assert!(!next[..4].contains(&first));
    }

    #[test]
    fn a_full_range_says_how_many_addresses_it_has() {
        let mut addresses = of("10.64.0.0/30");
        addresses.allocate("a").unwrap();
        let error = addresses.allocate("b").unwrap_err().to_string();
        assert!(error.contains("10.64.0.0/30") && error.contains("all 1 "), "{error}");
    }

    #[test]
    fn an_address_is_claimed_once_and_only_from_the_range() {
        let mut addresses = of("10.64.0.0/24");
        let address = IpAddr::from([10, 64, 0, 9]);
        assert!(addresses.claim(address, "a") && addresses.claim(address, "a"));
        assert!(!addresses.claim(address, "b"));
        assert!(!addresses.claim(IpAddr::from([10, 64, 0, 1]), "b"), "the gateway's");
        assert!(!addresses.claim(IpAddr::from([10, 65, 0, 9]), "b"));
        addresses.release(address, "b");
        assert!(!addresses.claim(address, "b"), "only its owner releases an address");
    }
}
