//! Which pod has which addresses and host ports: noted on disk before anything is made for it, and taken up by the next process.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::addresses::Addresses;
use crate::hostports::{HostPorts, check_families};
use crate::network::Network;
use crate::state::{self, Attached, PodState};
use crate::{Family, HostPort, NetworkConfig, NetworkError, PodRequest, Subnet, namespace};

/// Who has what.
pub(crate) struct Ledger {
    pub(crate) pods: BTreeMap<String, Entry>,
    pub(crate) addresses: Addresses,
    pub(crate) ports: HostPorts,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) state: PodState,
    /// The ports that the table leads to the pod now.
    pub(crate) led: Vec<HostPort>,
}

impl Network {
    /// Notes the pod, on disk before anything is made for it, and answers its addresses: none on the machine's network.
    pub(crate) fn reserve(&self, request: &PodRequest, wasm: bool) -> Result<Vec<IpAddr>, NetworkError> {
        let uid = &request.uid;
        state::check_uid(uid)?;
        let ledger = &mut *self.ledger.lock();
        let before = ledger.pods.get(uid);
        if let Some(Entry { state, .. }) = before
            && state.request == *request
            && state.wasm == wasm
            && (state.address.is_some() || request.host_network)
        {
            return Ok(state.addresses().collect());
        }
        let (had, had_second) = before.map_or((None, None), |entry| (entry.state.address, entry.state.second));
        let led = before.map(|e| e.led.clone()).unwrap_or_default();
        let address = match (request.host_network, had) {
            (true, _) => None,
            (false, Some(address)) => Some(address),
            (false, None) => Some(ledger.addresses.allocate(uid)?),
        };
        let give_back = |ledger: &mut Ledger| {
            if let (Some(address), None) = (address, had) {
                ledger.addresses.release(address, uid);
            }
        };
        // It follows from the first; a pod from before there was a second range has one address only.
        let new = address.zip(self.second).filter(|_| had.is_none()).map(|(first, range)| range.nth(self.subnet.offset(first)));
        let second = new.or(had_second).filter(|_| address.is_some());
        let state = PodState { request: request.clone(), address, second, wasm, attached: None };
        let addresses: Vec<_> = state.addresses().collect();
        let ports: &[HostPort] = if request.host_network { &[] } else { &request.host_ports };
        if let Err(error) = check_families(ports, &addresses).and_then(|()| ledger.ports.claim(uid, ports)) {
            give_back(ledger);
            return Err(error);
        }
        if let Err(error) = state::save(&self.config.pod_file(uid), &state) {
            ledger.ports.release(uid);
            give_back(ledger);
            return Err(error);
        }
        ledger.pods.insert(uid.clone(), Entry { state, led });
        Ok(addresses)
    }

    /// Notes a pod that plugins are to give its address, on disk before they are asked.
    pub(crate) fn note_attaching(&self, request: &PodRequest) -> Result<(), NetworkError> {
        let uid = &request.uid;
        state::check_uid(uid)?;
        let ledger = &mut *self.ledger.lock();
        ledger.ports.claim(uid, &request.host_ports)?;
        // One was kept for it while nobody knew what it is.
        let before = ledger.pods.get(uid).filter(|entry| entry.state.attached.is_none());
        if let Some(address) = before.and_then(|entry| entry.state.address) {
            ledger.addresses.release(address, uid);
        }
        let state = PodState { request: request.clone(), address: None, second: None, wasm: false, attached: None };
        state::save(&self.config.pod_file(uid), &state)?;
        ledger.pods.insert(uid.clone(), Entry { state, led: Vec::new() });
        Ok(())
    }

    pub(crate) fn note_attached(&self, request: &PodRequest, attached: Attached) -> Result<PodState, NetworkError> {
        let of = |family| attached.addresses.iter().copied().find(|address| Family::of(*address) == family);
        let (address, second) = (of(Family::V4), self.second.and_then(|range| of(range.family())));
        let state = PodState { request: request.clone(), address, second, wasm: false, attached: Some(attached) };
        state::save(&self.config.pod_file(&request.uid), &state)?;
        self.ledger.lock().pods.insert(request.uid.clone(), Entry { state: state.clone(), led: Vec::new() });
        Ok(state)
    }
}

/// Reads what an earlier process noted. A pod whose address cannot be its any more is let go of.
pub(crate) fn take_up(config: &NetworkConfig, subnet: Subnet, second: Option<Subnet>) -> Result<Ledger, NetworkError> {
    let mut ledger = Ledger { pods: BTreeMap::new(), addresses: Addresses::new(subnet), ports: HostPorts::default() };
    for state in state::load_pods(config)? {
        let uid = state.request.uid.clone();
        let ports: &[HostPort] = if state.request.host_network { &[] } else { &state.request.host_ports };
        let is_inside = state.second.is_none_or(|a| second.is_some_and(|range| range.contains(a)));
        let is_free = |ledger: &mut Ledger| state.address.is_none_or(|a| ledger.addresses.claim(a, &uid));
        let address_kept = state.attached.is_some() || (is_inside && is_free(&mut ledger));
        if state::check_uid(&uid).is_err() || !address_kept || ledger.ports.claim(&uid, ports).is_err() {
            tracing::warn!(uid, address = ?state.address, "a pod of an earlier run cannot keep its network");
            namespace::unpin(&config.pin_dir(&uid).join("net"))?;
            state::remove(&config.pod_file(&uid))?;
            continue;
        }
        let led = if state.attached.as_ref().is_some_and(|attached| attached.maps_ports) { Vec::new() } else { ports.to_vec() };
        ledger.pods.insert(uid, Entry { state, led });
    }
    Ok(ledger)
}
