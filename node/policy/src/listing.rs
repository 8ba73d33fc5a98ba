//! What nft lists of the table (libnftables-json(5)), as elements.

use std::collections::BTreeMap;

use mizzen_network::nft::said;
use serde_json::Value;

use crate::frame::MAPS;
use crate::key::{Elements, Key};

/// The elements that are there. A chain that has as many rules as it should is said to have those: its name says what they are.
/// So does a set's name what its elements are.
///
/// # Errors
/// When the text is no listing.
pub fn read(text: &str, wanted: &Elements) -> Result<Elements, serde_json::Error> {
    let listing: Value = serde_json::from_str(text)?;
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut elements = Elements::new();
    for item in listing["nftables"].as_array().into_iter().flatten() {
        if let Some(chain) = item["chain"]["name"].as_str() {
            rules.entry(chain.to_owned()).or_default();
        } else if let Some(chain) = item["rule"]["chain"].as_str() {
            *rules.entry(chain.to_owned()).or_default() += 1;
        } else {
            let (set, is_map) = if item["map"].is_object() { (&item["map"], true) } else { (&item["set"], false) };
            let Some(name) = set["name"].as_str() else { continue };
            if !MAPS.iter().any(|(_, own, _)| *own == name) {
                let key = Key::Set(name.to_owned());
                let kind = wanted.get(&key).cloned().unwrap_or_else(|| "other".into());
                elements.insert(key, kind);
            }
            for element in set["elem"].as_array().into_iter().flatten() {
                let (key, value) = if is_map { (&element[0], said(&element[1])) } else { (element, String::new()) };
                elements.insert(Key::Element(name.to_owned(), said(key)), value);
            }
        }
    }
    for (chain, count) in rules {
        let key = Key::Chain(chain);
        let right = wanted.get(&key).filter(|rules| rules.lines().count() == count).cloned();
        elements.insert(key, right.unwrap_or_else(|| "other rules".into()));
    }
    Ok(elements)
}
