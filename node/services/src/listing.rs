//! What nft lists of the table (libnftables-json(5)), as elements.

use std::collections::BTreeMap;

use mizzen_network::nft::said;
use serde_json::Value;

use crate::model::{Elements, Part};

/// The elements that are there. A chain that has as many rules as it should is said to have those: how nft would write them
/// is nobody's business, and a chain's name and the frame's version say what they are.
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
            let part = Part::SETS.into_iter().find(|part| set["name"].as_str() == Some(part.name()));
            let Some(part) = part else { continue };
            for element in set["elem"].as_array().into_iter().flatten() {
                let (key, value) = if is_map { (&element[0], said(&element[1])) } else { (element, String::new()) };
                elements.insert((part, said(key)), value);
            }
        }
    }
    for (chain, count) in rules {
        let key = (Part::Chain, chain);
        let right = wanted.get(&key).filter(|rules| rules.lines().count() == count).cloned();
        elements.insert(key, right.unwrap_or_else(|| "other rules".into()));
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "ip", "name": "t"}},
        {"map": {"name": "service_ips", "map": "verdict", "elem": [[{"concat": ["10.96.0.1", "tcp", 80]}, {"goto": {"target": "a1_3"}}]]}},
        {"map": {"name": "endpoints", "elem": [[{"concat": ["10.96.0.1", "tcp", 80, "1:1"]}, {"concat": ["10.0.0.1", 80]}]]}},
        {"map": {"name": "affinity", "elem": [["x", "y"]]}}, {"set": {"name": "cluster_ips", "elem": ["10.96.0.1"]}},
        {"set": {"name": "source_ranges", "elem": [{"concat": ["10.96.0.2", "tcp", 80, {"prefix": {"addr": "127.0.0.0", "len": 8}}]}]}},
        {"chain": {"name": "a1_3"}}, {"chain": {"name": "a1_4"}}, {"rule": {"chain": "a1_3", "expr": []}}]}"#;

    #[test]
    fn elements_are_read_as_they_are_written() {
        let wanted = Elements::from([((Part::Chain, "a1_3".into()), "one".into()), ((Part::Chain, "a1_4".into()), "one".into())]);
        let read = read(LISTING, &wanted).expect("is a listing");
        let text: Vec<_> = read.iter().map(|((part, key), value)| format!("{} {key} : {value}", part.name())).collect();
        let expected = [
            "chain a1_3 : one",
            "chain a1_4 : other rules",
            "service_ips 10.96.0.1 . tcp . 80 : goto a1_3",
            "endpoints 10.96.0.1 . tcp . 80 . 1:1 : 10.0.0.1 . 80",
            "source_ranges 10.96.0.2 . tcp . 80 . 127.0.0.0/8 : ",
            "cluster_ips 10.96.0.1 : ",
        ];
        assert_eq!(text, expected);
    }
}
