//! What the pods of this node were granted of its CPU, memory and ports, so that no two of them are given the same.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::pod_resources;
use mizzen_api::quantity::Quantity;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::capacity::Capacity;
use super::ports::HostPorts;

/// Millicores and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    cpu: i64,
    memory: i64,
}

impl Share {
    /// What a pod asks for.
    pub(crate) fn of(pod: &Pod) -> Self {
        let requests = pod_resources::requests(&serde_json::to_value(&pod.spec).unwrap_or_default());
        let of = |name: &str, value: fn(Quantity) -> i64| requests.get(name).copied().map_or(0, value);
        Self { cpu: of("cpu", Quantity::milli_value), memory: of("memory", Quantity::value) }
    }

    fn and(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }
}

/// What the node has too little of for a pod.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}")]
pub(crate) struct Lack {
    pub(crate) name: &'static str,
    requested: i64,
    used: i64,
    capacity: i64,
}

/// Why a pod that runs is not given what it asks for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The node could never do it.
    Infeasible(String),
    /// It could not now.
    Deferred(String),
}

#[derive(Default)]
pub(crate) struct Room {
    /// By uid; pods that are over have nothing.
    granted: Mutex<BTreeMap<String, Share>>,
    pub(crate) ports: HostPorts,
    freed: watch::Sender<()>,
}

impl Room {
    /// Gives a new pod its share.
    ///
    /// # Errors
    /// What there is too little of beside the other pods.
    pub(crate) fn enter(&self, uid: &str, wanted: Share, capacity: &Capacity) -> Result<(), Lack> {
        let mut granted = self.granted.lock();
        let others = others(&granted, uid);
        let pods = i64::try_from(granted.keys().filter(|other| *other != uid).count()).unwrap_or(i64::MAX);
        fits("pods", 1, pods, capacity.pods)?;
        fits("cpu", wanted.cpu, others.cpu, capacity.cpu_milli)?;
        fits("memory", wanted.memory, others.memory, capacity.memory)?;
        granted.insert(uid.to_owned(), wanted);
        Ok(())
    }

    /// Notes what a pod has that was let in before.
    pub(crate) fn note(&self, uid: &str, share: Share) {
        self.granted.lock().insert(uid.to_owned(), share);
    }

    /// Corrects what was noted of a pod that is not over.
    pub(crate) fn renote(&self, uid: &str, share: Share) {
        let mut granted = self.granted.lock();
        let before = granted.get_mut(uid).map(|known| std::mem::replace(known, share));
        drop(granted);
        if before.is_some_and(|before| before != share) {
            self.freed.send_replace(());
        }
    }

    /// Gives a pod another share.
    ///
    /// # Errors
    /// Why it keeps the one that it has.
    pub(crate) fn resize(&self, uid: &str, wanted: Share, capacity: &Capacity) -> Result<(), Refusal> {
        let before = {
            let mut granted = self.granted.lock();
            let before = granted.get(uid).copied().unwrap_or_default();
            judge(before, wanted, others(&granted, uid), capacity)?;
            granted.insert(uid.to_owned(), wanted);
            before
        };
        if wanted.cpu < before.cpu || wanted.memory < before.memory {
            self.freed.send_replace(());
        }
        Ok(())
    }

    /// Takes back what a pod had that is over.
    pub(crate) fn leave(&self, uid: &str) {
        self.ports.leave(uid);
        if self.granted.lock().remove(uid).is_some() {
            self.freed.send_replace(());
        }
    }

    /// Tells when there may be room that there was not before.
    pub(crate) fn freed(&self) -> watch::Receiver<()> {
        self.freed.subscribe()
    }
}

fn others(granted: &BTreeMap<String, Share>, uid: &str) -> Share {
    granted.iter().filter(|(other, _)| *other != uid).fold(Share::default(), |sum, (_, share)| sum.and(*share))
}

fn fits(name: &'static str, requested: i64, used: i64, capacity: i64) -> Result<(), Lack> {
    match requested > 0 && requested.saturating_add(used) > capacity {
        true => Err(Lack { name, requested, used, capacity }),
        false => Ok(()),
    }
}

/// Whether a pod that has `before` can have `wanted` beside the others. Only what grows needs room.
fn judge(before: Share, wanted: Share, others: Share, capacity: &Capacity) -> Result<(), Refusal> {
    for (name, requested, capacity) in [("memory", wanted.memory, capacity.memory), ("cpu", wanted.cpu, capacity.cpu_milli)] {
        if requested > capacity {
            let why = format!("Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}");
            return Err(Refusal::Infeasible(why));
        }
    }
    let deferred = |lack: Lack| Refusal::Deferred(lack.to_string());
    if wanted.cpu > before.cpu {
        fits("cpu", wanted.cpu, others.cpu, capacity.cpu_milli).map_err(deferred)?;
    }
    if wanted.memory > before.memory {
        fits("memory", wanted.memory, others.memory, capacity.memory).map_err(deferred)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity { cpu_milli: 1000, memory: 1000, pods: 3, storage: 0 };

    fn cpu(cpu: i64) -> Share {
        Share { cpu, memory: 0 }
    }

    fn told(result: Result<(), Refusal>) -> String {
        format!("{result:?}")
    }

    #[test]
    fn a_new_pod_needs_room_beside_the_others() {
        let room = Room::default();
        room.enter("a", cpu(400), &CAPACITY).expect("fits");
        let lack = room.enter("b", cpu(601), &CAPACITY).expect_err("does not fit");
        assert_eq!(lack.to_string(), "Node didn't have enough resource: cpu, requested: 601, used: 400, capacity: 1000");
        room.enter("b", cpu(600), &CAPACITY).expect("fits, for the one before was not let in");
        room.enter("c", cpu(0), &CAPACITY).expect("asks for nothing");
        assert_eq!(room.enter("d", cpu(0), &CAPACITY).expect_err("is one too many").name, "pods");
        room.leave("b");
        room.enter("d", cpu(600), &CAPACITY).expect("fits now");
    }

    #[test]
    fn a_pod_is_given_more_when_there_is_room_and_told_whether_that_can_come() {
        let room = Room::default();
        room.enter("a", cpu(400), &CAPACITY).expect("fits");
        room.enter("b", cpu(400), &CAPACITY).expect("fits");
        let mut freed = room.freed();
        let infeasible = r#"Err(Infeasible("Node didn't have enough capacity: cpu, requested: 1001, capacity: 1000"))"#;
        assert_eq!(told(room.resize("a", cpu(1001), &CAPACITY)), infeasible);
        let deferred = "Node didn't have enough resource: cpu, requested: 700, used: 400, capacity: 1000";
        assert_eq!(room.resize("a", cpu(700), &CAPACITY), Err(Refusal::Deferred(deferred.into())));
        assert!(!freed.has_changed().expect("the room is there"));
        room.resize("b", cpu(300), &CAPACITY).expect("asks for less");
        assert!(freed.has_changed().expect("the room is there"));
        freed.mark_unchanged();
        room.resize("a", cpu(700), &CAPACITY).expect("fits now");
        assert!(!freed.has_changed().expect("the room is there"));
        room.leave("b");
        assert!(freed.has_changed().expect("the room is there"));
    }

    #[test]
    fn a_node_with_too_much_on_it_still_gives_less() {
        let room = Room::default();
        room.note("a", cpu(900));
        room.note("b", Share { cpu: 900, memory: 10 });
        room.resize("a", cpu(800), &CAPACITY).expect("asks for less");
        room.resize("a", Share { cpu: 800, memory: 10 }, &CAPACITY).expect("there is memory");
    }
}
