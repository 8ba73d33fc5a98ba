//! What the table should have: the elements of all services, each with those that want it. Pure.

use mizzen_api::ObjectRef;
use mizzen_network::elements;
pub use mizzen_network::elements::difference;

/// Where an element is. Chains are elements too: services that want the same one share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Chain,
    ServiceIps,
    NodePorts,
    Refused,
    RefusedPorts,
    Endpoints,
    NodeEndpoints,
    Choices,
    NodeChoices,
    SourceRanges,
    ClusterIps,
    ServiceRanges,
    Hairpin,
    Wasm,
}

impl Part {
    /// Of maps and sets.
    pub const SETS: [Self; 13] = [
        Self::ServiceIps,
        Self::NodePorts,
        Self::Refused,
        Self::RefusedPorts,
        Self::Endpoints,
        Self::NodeEndpoints,
        Self::Choices,
        Self::NodeChoices,
        Self::SourceRanges,
        Self::ClusterIps,
        Self::ServiceRanges,
        Self::Hairpin,
        Self::Wasm,
    ];

    /// The map or set of the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::ServiceIps => "service_ips",
            Self::NodePorts => "node_ports",
            Self::Refused => "refused",
            Self::RefusedPorts => "refused_ports",
            Self::Endpoints => "endpoints",
            Self::NodeEndpoints => "node_endpoints",
            Self::Choices => "choices",
            Self::NodeChoices => "node_choices",
            Self::SourceRanges => "source_ranges",
            Self::ClusterIps => "cluster_ips",
            Self::ServiceRanges => "service_ranges",
            Self::Hairpin => "hairpin",
            Self::Wasm => "wasm",
        }
    }
}

/// Where an element is, and its key as nftables lists it, or a chain's name.
pub type Key = (Part, String);
/// The values as nftables lists them: a set's are empty, a chain's are its rules, a line each.
pub type Elements = elements::Elements<Key>;
pub type Changes = elements::Changes<Key>;
/// The elements of all services. Where two services want the same address and port, the first by name has it.
pub type Model = elements::Model<Key, ObjectRef>;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: &str) -> Key {
        (Part::Endpoints, key.to_owned())
    }

    fn elements(all: &[(&str, &str)]) -> Elements {
        all.iter().map(|(name, value)| (key(name), (*value).to_owned())).collect()
    }

    fn change(before: Option<&str>, after: Option<&str>) -> (Option<String>, Option<String>) {
        (before.map(str::to_owned), after.map(str::to_owned))
    }

    #[test]
    fn only_what_differs_changes_and_there_and_back_is_nothing() {
        let (mut model, mut changes) = (Model::default(), Changes::new());
        let service = ObjectRef::new("n", "a");
        model.put(&service, elements(&[("k0", "x"), ("k1", "y")]), &mut changes);
        assert_eq!(changes.len(), 2);
        changes.clear();
        model.put(&service, elements(&[("k0", "x"), ("k1", "z")]), &mut changes);
        assert_eq!(changes, Changes::from([(key("k1"), change(Some("y"), Some("z")))]));
        model.put(&service, elements(&[("k0", "x"), ("k1", "y")]), &mut changes);
        assert_eq!(changes, Changes::new());
        model.put(&service, Elements::new(), &mut changes);
        assert_eq!(changes.len(), 2);
        assert_eq!((model.elements(), model.holders().count()), (Elements::new(), 0));
    }

    #[test]
    fn what_two_want_is_the_firsts_and_then_the_seconds() {
        let (mut model, mut changes) = (Model::default(), Changes::new());
        let (a, b) = (ObjectRef::new("n", "a"), ObjectRef::new("n", "b"));
        model.put(&b, elements(&[("k", "of b")]), &mut changes);
        model.put(&a, elements(&[("k", "of a")]), &mut changes);
        assert_eq!(changes, Changes::from([(key("k"), change(None, Some("of a")))]));
        changes.clear();
        model.put(&b, elements(&[("k", "still of b")]), &mut changes);
        assert_eq!(changes, Changes::new());
        model.put(&a, Elements::new(), &mut changes);
        assert_eq!(changes, Changes::from([(key("k"), change(Some("of a"), Some("still of b")))]));
    }

    #[test]
    fn a_difference_makes_one_of_the_other() {
        let changes = difference(
            &elements(&[("gone", "x"), ("same", "x"), ("other", "x")]),
            &elements(&[("same", "x"), ("other", "y"), ("new", "x")]),
        );
        let expected = [
            (key("gone"), change(Some("x"), None)),
            (key("other"), change(Some("x"), Some("y"))),
            (key("new"), change(None, Some("x"))),
        ];
        assert_eq!(changes, Changes::from(expected));
    }
}
