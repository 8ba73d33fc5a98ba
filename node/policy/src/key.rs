//! What the table consists of.

use mizzen_network::elements;

/// A chain, a set, or an element of a set or map, by their names and the element's key as nftables lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Its value is its rules, a line each.
    Chain(String),
    /// Its value is the type of its elements.
    Set(String),
    /// Its value is a map's verdict; a set's is empty.
    Element(String, String),
}

pub type Elements = elements::Elements<Key>;
pub type Changes = elements::Changes<Key>;
