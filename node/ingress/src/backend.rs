//! The endpoints of one backend, and which of them gets the next request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::endpoint::Endpoint;

#[derive(Default)]
pub(crate) struct Backend {
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
}

impl Backend {
    /// From now on requests go to these. Those under way end where they are.
    pub(crate) fn set(&self, endpoints: Vec<Arc<Endpoint>>) {
        self.endpoints.store(Arc::new(endpoints));
    }

    /// The less busy of the next two in turn that could be reached of late, or any that was not tried; `None` when all were.
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let count = endpoints.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count)?;
        let in_turn = endpoints.iter().cycle().skip(first).take(count).filter(|endpoint| !tried.contains(&endpoint.address));
        let mut well = in_turn.clone().filter(|endpoint| !endpoint.is_failing());
        let chosen = match (well.next(), well.next()) {
            (Some(one), Some(other)) if other.busy() < one.busy() => Some(other),
            (Some(one), _) => Some(one),
            (None, _) => in_turn.clone().next(),
        };
        chosen.cloned()
    }
}
