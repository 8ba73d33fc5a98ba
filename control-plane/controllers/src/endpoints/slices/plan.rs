//! From the slices that are there to those that should be, with few writes: what stays keeps its slice, what is new
//! goes where something is written anyway, and a slice that is to go is used again for one that is to come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use mizzen_api::Object;

/// Endpoints of one family with the same ports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) address_type: &'static str,
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A slice that is there.
#[derive(Clone)]
pub(super) struct Present {
    pub(super) object: Arc<Object>,
    pub(super) slice: Arc<EndpointSlice>,
    /// Its labels, annotations and owner are not what they should be.
    pub(super) mislabelled: bool,
}

impl Present {
    fn ports(&self) -> &[EndpointPort] {
        self.slice.ports.as_deref().unwrap_or_default()
    }

    fn endpoints(&self) -> &[Endpoint] {
        self.slice.endpoints.as_deref().unwrap_or_default()
    }
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) create: Vec<Group>,
    pub(super) update: Vec<(Present, Group)>,
    pub(super) delete: Vec<Present>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

/// `max` is how many endpoints a slice holds.
pub(super) fn plan(present: &[Present], groups: &[Group], max: usize) -> Plan {
    let mut plan = Plan::default();
    let mut unmatched: Vec<Present> = present.to_vec();
    for group in groups {
        let is_of = |present: &Present| present.slice.address_type == group.address_type && present.ports() == group.ports;
        let (mine, others) = unmatched.into_iter().partition(is_of);
        unmatched = others;
        plan_group(mine, group, max, &mut plan);
    }
    plan.delete.extend(unmatched);
    recycle(&mut plan);
    plan
}

/// One slice, and what of it stays.
struct Slot {
    present: Present,
    endpoints: Vec<Endpoint>,
    written: bool,
}

fn plan_group(mine: Vec<Present>, group: &Group, max: usize, plan: &mut Plan) {
    let mut wanted: BTreeMap<_, _> = group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    let mut slots: Vec<Slot> = mine.into_iter().map(|present| stay(present, &mut wanted)).collect();
    let mut new: VecDeque<Endpoint> = wanted.into_values().cloned().collect();
    for slot in slots.iter_mut().filter(|slot| slot.written) {
        let room = max.saturating_sub(slot.endpoints.len()).min(new.len());
        slot.endpoints.extend(new.drain(..room));
    }
    let content = |endpoints| Group { address_type: group.address_type, ports: group.ports.clone(), endpoints };
    while new.len() >= max {
        plan.create.push(content(new.drain(..max).collect()));
    }
    if !new.is_empty() {
        let fitting = slots.iter_mut().filter(|slot| slot.endpoints.len() + new.len() <= max);
        match fitting.max_by_key(|slot| slot.endpoints.len()) {
            Some(fullest) => {
                fullest.endpoints.extend(new);
                fullest.written = true;
            }
            None => plan.create.push(content(new.into())),
        }
    }
    // One slice stays even if it is empty.
    let mut kept = plan.create.iter().any(|created| created.ports == group.ports && created.address_type == group.address_type)
        || slots.iter().any(|slot| !slot.endpoints.is_empty());
    for slot in slots {
        if slot.endpoints.is_empty() && kept {
            plan.delete.push(slot.present);
            continue;
        }
        kept = true;
        if slot.written {
            plan.update.push((slot.present, content(slot.endpoints)));
        }
    }
    if !kept {
        plan.create.push(content(Vec::new()));
    }
}

/// Takes from `wanted` what the slice has of it.
fn stay(present: Present, wanted: &mut BTreeMap<(String, String), &Endpoint>) -> Slot {
    let mut written = present.mislabelled;
    let mut endpoints = Vec::new();
    for endpoint in present.endpoints() {
        match wanted.remove(&identity(endpoint)) {
            Some(stays) => {
                written |= stays != endpoint;
                endpoints.push(stays.clone());
            }
            None => written = true,
        }
    }
    Slot { present, endpoints, written }
}

fn identity(endpoint: &Endpoint) -> (String, String) {
    let target = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (endpoint.addresses.first().cloned().unwrap_or_default(), target.unwrap_or_default())
}

/// Makes a deletion and a creation one update.
fn recycle(plan: &mut Plan) {
    for created in std::mem::take(&mut plan.create) {
        let same_type = |present: &Present| present.slice.address_type == created.address_type;
        match plan.delete.iter().position(same_type) {
            Some(index) => {
                let present = plan.delete.swap_remove(index);
                plan.update.push((present, created));
            }
            None => plan.create.push(created),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::EndpointConditions;

    use super::*;

    fn port(number: i32) -> Vec<EndpointPort> {
        vec![EndpointPort { port: Some(number), ..EndpointPort::default() }]
    }

    fn endpoint(number: usize) -> Endpoint {
        Endpoint { addresses: vec![format!("10.0.0.{number:03}")], ..Endpoint::default() }
    }

    fn group(number: i32, endpoints: impl IntoIterator<Item = usize>) -> Group {
        Group { address_type: "IPv4", ports: port(number), endpoints: endpoints.into_iter().map(endpoint).collect() }
    }

    fn present(number: i32, endpoints: impl IntoIterator<Item = usize>) -> Present {
        let group = group(number, endpoints);
        let slice = EndpointSlice {
            address_type: "IPv4".into(),
            ports: Some(group.ports),
            endpoints: Some(group.endpoints),
            ..EndpointSlice::default()
        };
        Present { object: Arc::new(Object::new(&b"{}"[..], 1)), slice: Arc::new(slice), mislabelled: false }
    }

    /// Sizes of what is created, updated, and the number of deletions.
    fn shape(present: &[Present], groups: &[Group], max: usize) -> (Vec<usize>, Vec<usize>, usize) {
        let plan = plan(present, groups, max);
        let sizes = |group: &Group| group.endpoints.len();
        (plan.create.iter().map(sizes).collect(), plan.update.iter().map(|(_, group)| sizes(group)).collect(), plan.delete.len())
    }

    #[test]
    fn what_is_right_is_left_alone() {
        assert!(plan(&[present(80, 0..3)], &[group(80, 0..3)], 100).is_empty());
        assert!(plan(&[present(80, [])], &[group(80, [])], 100).is_empty());
        let mislabelled = Present { mislabelled: true, ..present(80, 0..3) };
        assert_eq!(shape(&[mislabelled], &[group(80, 0..3)], 100), (vec![], vec![3], 0));
    }

    #[test]
    fn slices_are_filled_before_others_are_made() {
        assert_eq!(shape(&[], &[group(80, 0..250)], 100), (vec![100, 100, 50], vec![], 0));
        // The fullest with room for all takes them.
        assert_eq!(shape(&[present(80, 0..3), present(80, 3..9)], &[group(80, 0..11)], 10), (vec![], vec![8], 0));
        assert_eq!(shape(&[present(80, 0..9)], &[group(80, 0..12)], 10), (vec![3], vec![], 0));
        // The one that changes anyway goes first.
        assert_eq!(shape(&[present(80, 0..3), present(80, 3..9)], &[group(80, 1..11)], 10), (vec![], vec![4], 0));
    }

    #[test]
    fn what_changes_is_changed_in_place_and_empty_slices_go_but_for_one() {
        let mut changed = group(80, 0..3);
        changed.endpoints[1].conditions = Some(EndpointConditions { ready: Some(false), ..EndpointConditions::default() });
        assert_eq!(shape(&[present(80, 0..3)], &[changed], 100), (vec![], vec![3], 0));
        assert_eq!(shape(&[present(80, 0..3), present(80, 3..5)], &[group(80, 0..3)], 3), (vec![], vec![], 1));
        assert_eq!(shape(&[present(80, 0..3), present(80, 3..5)], &[group(80, [])], 3), (vec![], vec![0], 1));
        assert_eq!(shape(&[], &[group(80, [])], 3), (vec![0], vec![], 0));
    }

    #[test]
    fn a_slice_of_other_ports_is_used_again() {
        assert_eq!(shape(&[present(80, 0..3)], &[group(8080, 0..3)], 100), (vec![], vec![3], 0));
        assert_eq!(shape(&[present(80, 0..3), present(81, 0..3)], &[group(8080, 0..3)], 100), (vec![], vec![3], 1));
        assert_eq!(shape(&[present(80, 0..3)], &[], 100), (vec![], vec![], 1));
    }
}
