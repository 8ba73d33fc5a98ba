//! What becomes of an object, by the state of its owners. Pure.

use mizzen_client::Propagation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It exists, and does not wait for its dependents to go.
    Solid,
    /// It is being deleted in the foreground.
    Waiting,
    /// There is no such object, or another one of the same name.
    Absent,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Keep,
    /// Some owners are gone but others remain: forget those that are gone, by uid.
    DropReferences(Vec<String>),
    Delete(Propagation),
}

/// `orphans`: the object's own deletion is to leave its dependents alone.
pub(super) fn step(owners: &[(String, OwnerState)], has_dependents: bool, orphans: bool) -> Step {
    let solid = owners.iter().any(|(_, state)| *state == OwnerState::Solid);
    let waiting = owners.iter().any(|(_, state)| *state == OwnerState::Waiting);
    if solid {
        let gone: Vec<_> = owners.iter().filter(|(_, state)| *state != OwnerState::Solid).map(|(uid, _)| uid.clone()).collect();
        return if gone.is_empty() { Step::Keep } else { Step::DropReferences(gone) };
    }
    if orphans {
        Step::Delete(Propagation::Orphan)
    } else if waiting && has_dependents {
        // The owner waits for all below it, so this one must wait for its own.
        Step::Delete(Propagation::Foreground)
    } else {
        Step::Delete(Propagation::Background)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_lives_as_long_as_one_owner_does() {
        use OwnerState::{Absent, Solid, Waiting};
        let foreground = || Step::Delete(Propagation::Foreground);
        let background = || Step::Delete(Propagation::Background);
        for (states, has_dependents, orphans, expected) in [
            (&[Solid][..], false, false, Step::Keep),
            (&[Solid, Absent], false, false, Step::DropReferences(vec!["1".into()])),
            (&[Waiting, Solid], true, false, Step::DropReferences(vec!["0".into()])),
            (&[Absent], false, false, background()),
            (&[Absent], true, false, background()),
            (&[Waiting], true, false, foreground()),
            (&[Waiting, Absent], false, false, background()),
            (&[Absent], true, true, Step::Delete(Propagation::Orphan)),
        ] {
            let owners: Vec<_> = states.iter().enumerate().map(|(at, state)| (at.to_string(), *state)).collect();
            assert_eq!(step(&owners, has_dependents, orphans), expected, "{states:?}");
        }
    }
}
