//! VolumeBinding: a pod goes where the volumes of its claims are, and waits for claims that are bound without it.
//!
//! Which volume a claim gets is decided by the controllers, when the pod has its node (docs/decisions/0049).

use std::sync::Arc;

use mizzen_api::ObjectRef;
use serde::Deserialize;
use serde_json::Value;

use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection, Scope};
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;
use crate::volumes::{Claim, Known, Volume, claims_of};

pub(super) struct VolumeBinding;

/// `VolumeBindingArgs`. Both fields tell of steps that scheduling does not have here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    bind_timeout_seconds: Option<i64>,
    shape: Vec<Value>,
}

impl VolumeBinding {
    /// # Errors
    /// When it is told what would have no effect.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        if args.bind_timeout_seconds.is_some() {
            return Err(
                "bindTimeoutSeconds: nothing waits for volumes here: claims are bound when their pod has its node".to_owned()
            );
        }
        if !args.shape.is_empty() {
            return Err("shape: there are no storage capacities by which nodes could be scored".to_owned());
        }
        Ok(Self)
    }
}

/// What a node has to reach for one claim: one of these.
#[derive(Clone)]
struct Needed {
    volumes: Vec<Arc<Volume>>,
    /// Why a node does not do.
    otherwise: &'static str,
}

const BOUND_ELSEWHERE: &str = "node(s) didn't match PersistentVolume's node affinity";
const NONE_THERE: &str = "node(s) didn't find available persistent volumes to bind";

/// What one claim asks of the node: `None` where any will do.
fn needed(name: &str, claim: Option<&Arc<Claim>>, known: &Known) -> Result<Option<Needed>, Rejection> {
    let Some(claim) = claim else {
        return Err(Rejection::unresolvable(format!("persistentvolumeclaim \"{name}\" not found")));
    };
    if claim.is_lost {
        return Err(Rejection::unresolvable(format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume")));
    }
    if claim.terminating {
        return Err(Rejection::unresolvable(format!("persistentvolumeclaim \"{name}\" is being deleted")));
    }
    if !claim.volume.is_empty() {
        let Some(volume) = known.volumes.get(&claim.volume) else {
            return Err(Rejection::unresolvable(format!("persistentvolume \"{}\" not found", claim.volume)));
        };
        let only = volume.nodes.is_some();
        return Ok(only.then(|| Needed { volumes: vec![volume.clone()], otherwise: BOUND_ELSEWHERE }));
    }
    let class = known.classes.get(claim.wanted.class()).map(|class| **class).unwrap_or_default();
    match (class.waits, class.by_hand) {
        (false, _) => Err(Rejection::unresolvable("pod has unbound immediate PersistentVolumeClaims")),
        (true, false) => Ok(None),
        (true, true) => {
            let volumes = known.volumes.values().filter(|volume| volume.suits(claim)).cloned().collect();
            Ok(Some(Needed { volumes, otherwise: NONE_THERE }))
        }
    }
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter, Point::Filter])
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged, ClusterEvent::VolumesChanged]
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut PluginState) -> Result<Scope, Rejection> {
        let names = pod.object.as_ref().map(|object| claims_of(object)).unwrap_or_default();
        if names.is_empty() {
            return Ok(Scope::Skip);
        }
        let known = snapshot.volumes.read();
        let needed = names.iter().map(|name| {
            let key = ObjectRef::new(pod.key.namespace.clone(), name.clone());
            needed(name, known.claims.get(&key), &known)
        });
        let needed = needed.collect::<Result<Vec<_>, _>>()?;
        let needed: Vec<Needed> = needed.into_iter().flatten().collect();
        if needed.is_empty() {
            return Ok(Scope::Skip);
        }
        state.set(needed);
        Ok(Scope::All)
    }

    fn filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, state: &mut PluginState) {
        let Some(all) = state.get::<Vec<Needed>>() else { return };
        candidates.check(|node| {
            let lacking = all.iter().find(|needed| !needed.volumes.iter().any(|volume| volume.is_reached_from(node)));
            lacking.map_or(Ok(()), |needed| Err(Rejection::unresolvable(needed.otherwise)))
        });
    }
}

#[cfg(test)]
mod tests {
    use mizzen_api::Object;
    use serde_json::{Value, json};

    use super::*;
    use crate::node::NodeInfo;
    use crate::volumes::Class;

    fn object(document: &Value) -> Arc<Object> {
        Arc::new(Object::new(document.to_string(), 1))
    }

    /// For claims of the class `hand`, labelled `disk=NODE`.
    fn volume(node: &str, phase: &str) -> Arc<Volume> {
        let terms = json!([{"matchExpressions": [{"key": "host", "operator": "In", "values": [node]}]}]);
        let document = json!({"metadata": {"name": node, "labels": {"disk": node}}, "status": {"phase": phase}, "spec": {
            "storageClassName": "hand", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}});
        Arc::new(Volume::of(&object(&document)).expect("is one"))
    }

    fn claim(volume: &str, class: &str, request: &str) -> Arc<Claim> {
        let document = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume,
            "storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": request}}}});
        Arc::new(Claim::of(&object(&document)).expect("is one"))
    }

    /// The nodes that a pod with the claim can go to, of `a` and `b`, or why it goes nowhere.
    fn nodes(claims: &[Option<Arc<Claim>>]) -> Result<String, String> {
        let node = |name: &str| {
            let labels = [("host".to_owned(), name.to_owned())].into();
            Arc::new(NodeInfo { name: name.into(), labels: Arc::new(labels), ..NodeInfo::default() })
        };
        let snapshot = Snapshot::of(vec![node("a"), node("b")]);
        let mut names = Vec::new();
        {
            let mut known = snapshot.volumes.write();
            known.volumes = [("on-a", "a", "Bound"), ("free-b", "b", "Available")]
                .map(|(name, on, phase)| (name.to_owned(), volume(on, phase)))
                .into();
            known.classes.insert("hand".into(), Arc::new(Class { waits: true, by_hand: true }));
            known.classes.insert("made".into(), Arc::new(Class { waits: true, by_hand: false }));
            for (number, claim) in claims.iter().enumerate() {
                names.push(json!({"name": number.to_string(), "persistentVolumeClaim": {"claimName": number.to_string()}}));
                if let Some(claim) = claim {
                    known.claims.insert(ObjectRef::new("n".to_owned(), number.to_string()), claim.clone());
                }
            }
        }
        let document = json!({"metadata": {"namespace": "n", "name": "p"}, "spec": {"containers": [], "volumes": names}});
        let pod = PodInfo {
            key: ObjectRef::new("n".to_owned(), "p".to_owned()).into(),
            object: Some(object(&document)),
            ..PodInfo::default()
        };
        let mut state = PluginState::default();
        let mut candidates = Candidates::new(&snapshot.nodes);
        match VolumeBinding.pre_filter(&pod, &snapshot, &mut state) {
            Ok(Scope::Skip) => {}
            Ok(_) => VolumeBinding.filter(&pod, &snapshot, &mut candidates, &mut state),
            Err(why) => return Err(why.reasons.concat()),
        }
        Ok(candidates.left().1.into_iter().map(|node| node.name.clone()).collect())
    }

    #[test]
    fn a_pod_goes_where_its_volumes_are_or_can_be() {
        let ok = |claims: &[Arc<Claim>]| nodes(&claims.iter().cloned().map(Some).collect::<Vec<_>>()).expect("goes somewhere");
        assert_eq!(ok(&[]), "ab");
        assert_eq!(ok(&[claim("on-a", "hand", "1Gi")]), "a");
        assert_eq!(ok(&[claim("", "hand", "1Gi")]), "b");
        assert_eq!(ok(&[claim("", "hand", "2Gi")]), "");
        assert_eq!(ok(&[claim("", "made", "2Gi")]), "ab");
        assert_eq!(ok(&[claim("on-a", "hand", "1Gi"), claim("", "hand", "1Gi")]), "");
    }

    /// On a node with only other volumes the pod would wait for ever.
    #[test]
    fn a_volume_that_the_claim_would_not_be_bound_to_leads_nowhere() {
        let asks = |key: &str, value: Value| {
            let mut document = json!({"metadata": {}, "spec": {"storageClassName": "hand",
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
            document["spec"][key] = value;
            nodes(&[Some(Arc::new(Claim::of(&object(&document)).expect("is one")))])
        };
        assert_eq!(asks("selector", json!({"matchLabels": {"disk": "b"}})), Ok("b".into()));
        assert_eq!(asks("selector", json!({"matchLabels": {"disk": "a"}})), Ok(String::new()));
        assert_eq!(asks("volumeMode", "Block".into()), Ok(String::new()));
    }

    /// Both would wait for each other.
    #[test]
    fn a_class_that_is_named_by_the_older_annotation_counts() {
        let document = json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "made"}}, "spec": {}});
        let claim = Arc::new(Claim::of(&object(&document)).expect("is one"));
        assert_eq!(nodes(&[Some(claim)]), Ok("ab".into()));
    }

    #[test]
    fn it_waits_for_claims_that_are_not_there_or_are_bound_without_it() {
        assert_eq!(nodes(&[None]), Err("persistentvolumeclaim \"0\" not found".into()));
        let unbound = "pod has unbound immediate PersistentVolumeClaims";
        assert_eq!(nodes(&[Some(claim("", "", "1Gi"))]), Err(unbound.into()));
        let gone = Claim { terminating: true, ..Claim::default() };
        assert_eq!(nodes(&[Some(Arc::new(gone))]), Err("persistentvolumeclaim \"0\" is being deleted".into()));
        assert_eq!(nodes(&[Some(claim("gone", "hand", "1Gi"))]), Err("persistentvolume \"gone\" not found".into()));
    }
}
