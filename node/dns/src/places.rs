//! How much may be under way at once, of all clients and of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// Given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// `None` when there are too many already.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let taken = &mut *self.taken.lock();
        let of_client = taken.by.get(&client).copied().unwrap_or(0);
        if taken.all >= self.all || of_client >= self.each {
            return None;
        }
        taken.all += 1;
        taken.by.insert(client, of_client + 1);
        Some(Place { places: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &mut *self.places.taken.lock();
        taken.all -= 1;
        if let Some(of_client) = taken.by.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                taken.by.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_asks_for_too_much_leaves_room_for_others() {
        let places = Places::new(3, 2);
        let [first, second]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let held = [places.enter(first), places.enter(first)];
        assert!(held.iter().all(Option::is_some) && places.enter(first).is_none());
        let other = places.enter(second);
        assert!(other.is_some() && places.enter(second).is_none(), "all are taken");
        drop(held);
        assert!(places.enter(first).is_some() && places.enter(second).is_some());
        drop(other);
        assert!(places.taken.lock().by.is_empty());
    }
}
