//! Which volume a claim gets, and what state a volume is in: pure functions.

use super::view::{Claim, Consumer, Volume};

/// When volumes of a class are bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// There is no such class; volumes may name it all the same.
    Unknown,
    Known {
        provisioner: String,
        /// Not before a pod uses the claim.
        waits: bool,
    },
}

/// A provisioner that makes nothing: volumes of its classes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ForClaim {
    /// To this volume, by its name; also when it is bound to it already and only parts of it are not written.
    Bind(String),
    /// It stays as it is, and why.
    Wait { warning: bool, reason: &'static str, message: String },
    /// Somebody else is to make a volume for it, on the node where it is used if that is known.
    Provision { provisioner: String, node: Option<String> },
    /// Its volume is gone, or another's.
    Lost { reason: &'static str, message: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ForVolume {
    Phase(&'static str),
    /// Nobody can delete what it stands for.
    NotDeleted,
    /// It was chosen for a claim that has another.
    Free,
    /// Its claim is to be bound to it first.
    Leave,
}

/// `consumer` is the node of a pod that uses the claim, once there is one.
pub(super) fn for_claim(claim: &Claim, volumes: &[Volume], class: &Class, consumer: Option<&Consumer>) -> ForClaim {
    let named = volumes.iter().find(|volume| volume.name == claim.volume);
    match (claim.volume.is_empty(), claim.completed) {
        (true, true) => lost("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"),
        (false, true) => match named {
            None => lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
            Some(volume) if is_for_other(volume, claim) => {
                lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
            }
            Some(volume) => ForClaim::Bind(volume.name.clone()),
        },
        (false, false) => match named {
            None => wait(false, "FailedBinding", format!("volume {:?} not found", claim.volume)),
            Some(volume) if is_for_other(volume, claim) => {
                wait(true, "FailedBinding", format!("volume {:?} already bound to a different claim.", claim.volume))
            }
            Some(volume) => match volume.offered.check(&claim.wanted) {
                Err(why) => wait(true, "VolumeMismatch", format!("Cannot bind to requested volume {:?}: {why}", claim.volume)),
                Ok(()) => ForClaim::Bind(volume.name.clone()),
            },
        },
        (true, false) => choose(claim, volumes, class, consumer),
    }
}

fn choose(claim: &Claim, volumes: &[Volume], class: &Class, consumer: Option<&Consumer>) -> ForClaim {
    // Who is to wait for a pod gets a volume of the pod's node; who is not is asked nothing of nodes.
    let (waits, consumer) = match class {
        Class::Known { waits: true, .. } => (consumer.is_none(), consumer),
        Class::Known { .. } | Class::Unknown => (false, None),
    };
    if let Some(volume) = best(claim, volumes, waits, consumer) {
        return ForClaim::Bind(volume.name.clone());
    }
    match class {
        Class::Known { .. } if waits => {
            wait(false, "WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned())
        }
        Class::Known { provisioner, .. } if provisioner != NO_PROVISIONER => {
            ForClaim::Provision { provisioner: provisioner.clone(), node: consumer.map(|consumer| consumer.node.clone()) }
        }
        _ if claim.wanted.class().is_empty() => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            wait(false, "FailedBinding", message.to_owned())
        }
        Class::Unknown => {
            wait(true, "ProvisioningFailed", format!("storageclass.storage.k8s.io {:?} not found", claim.wanted.class()))
        }
        Class::Known { .. } => wait(false, "FailedBinding", "no persistent volumes available for this claim".to_owned()),
    }
}

fn wait(warning: bool, reason: &'static str, message: String) -> ForClaim {
    ForClaim::Wait { warning, reason, message }
}

fn lost(reason: &'static str, message: &'static str) -> ForClaim {
    ForClaim::Lost { reason, message }
}

fn is_for_other(volume: &Volume, claim: &Claim) -> bool {
    volume.claim.as_ref().is_some_and(|other| other.key != claim.key || !(other.uid.is_empty() || other.uid == claim.uid))
}

/// The smallest volume that suits; one that is kept for the claim before all others. Claims that wait for a pod get none but
/// that.
fn best<'a>(claim: &Claim, volumes: &'a [Volume], waits: bool, consumer: Option<&Consumer>) -> Option<&'a Volume> {
    let suits = |volume: &&Volume| {
        !volume.terminating
            && consumer.is_none_or(|consumer| volume.is_reached_from(consumer))
            && volume.offered.suits(&claim.wanted)
    };
    let kept = volumes.iter().find(|volume| {
        let can_be_had = volume.offered.holds(&claim.wanted) && !volume.terminating;
        can_be_had && volume.claim.is_some() && !is_for_other(volume, claim)
    });
    let free = |volume: &&Volume| volume.claim.is_none() && volume.phase == "Available" && !waits;
    kept.or_else(|| {
        volumes
            .iter()
            .filter(free)
            .filter(suits)
            .min_by(|a, b| a.offered.capacity().cmp(&b.offered.capacity()).then(a.name.cmp(&b.name)))
    })
}

/// `claim` is the one that the volume's reference means, if it is there.
pub(super) fn for_volume(volume: &Volume, claim: Option<&Claim>) -> ForVolume {
    let Some(reference) = volume.claim.as_ref().filter(|reference| !reference.uid.is_empty()) else {
        return ForVolume::Phase("Available");
    };
    match claim.filter(|claim| claim.uid == reference.uid) {
        Some(claim) if claim.volume == volume.name => ForVolume::Phase("Bound"),
        Some(claim) if claim.volume.is_empty() => ForVolume::Leave,
        // A volume that was made for the claim is not given to others.
        Some(_) if volume.provisioned && volume.policy == "Delete" => ForVolume::Phase("Released"),
        Some(_) => ForVolume::Free,
        None if volume.phase == "Failed" => ForVolume::Leave,
        None if volume.phase == "Released" && volume.policy == "Delete" && !volume.provisioned => ForVolume::NotDeleted,
        None => ForVolume::Phase("Released"),
    }
}
