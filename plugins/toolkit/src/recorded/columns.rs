//! A recorded cluster as the columns of the contract (`plugins/wit/scheduler`).

use std::collections::{BTreeMap, BTreeSet};

use mizzen_api::pod_resources::{self, Resources};
use mizzen_api::quantity::Quantity;
use mizzen_plugins_host::scheduler::{Column, Delta, TextLists, Values};
use serde_json::Value;

use super::cluster::{Cluster, Node};
use super::pod::{amounts, scoring};
use super::{pairs, text};

/// What a node has in a column.
enum Cell {
    Integer(i64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
}

impl Cluster {
    /// Everything, for a plugin that knows nothing yet.
    pub fn delta(&self, wanted: &[String]) -> Delta {
        let mut dictionary = Dictionary::default();
        let columns = self.expand(wanted).into_iter();
        let columns = columns.filter_map(|name| {
            let cells: Vec<Option<Cell>> = self.nodes.iter().map(|node| node.cell(&name)).collect();
            column(name, &cells, &mut dictionary)
        });
        let columns = columns.collect();
        Delta { since: 0, generation: 1, removed: Vec::new(), changed: self.rows(), dictionary: dictionary.texts, columns }
    }

    /// The names, with one for each resource in place of `allocatable/*` and `requested/*`.
    fn expand(&self, wanted: &[String]) -> BTreeSet<String> {
        let of = |name: &String| match name.strip_suffix("/*") {
            Some(prefix) => {
                let resources = self.nodes.iter().flat_map(|node| node.resources(prefix).into_iter().map(|(name, _)| name));
                resources.map(|resource| format!("{prefix}/{resource}")).collect()
            }
            None => vec![name.clone()],
        };
        wanted.iter().flat_map(of).collect()
    }
}

impl Node {
    fn cell(&self, column: &str) -> Option<Cell> {
        let (family, key) = column.split_once('/').unwrap_or((column, ""));
        let owned = |text: &str| text.to_owned();
        Some(match family {
            "name" => Cell::Text(self.name.clone()),
            "unschedulable" => Cell::Flag(self.object.pointer("/spec/unschedulable") == Some(&Value::Bool(true))),
            "taints" => {
                let taint = |it: &Value| format!("{}={}:{}", text(it, "/key"), text(it, "/value"), text(it, "/effect"));
                Cell::Texts(list(&self.object, "/spec/taints").map(taint).collect())
            }
            "images" => {
                let names = list(&self.object, "/status/images").flat_map(|image| list(image, "/names"));
                Cell::Texts(names.filter_map(Value::as_str).map(owned).collect())
            }
            "label" => Cell::Text(self.object.get("metadata")?.get("labels")?.get(key)?.as_str()?.to_owned()),
            "annotation" => Cell::Text(self.object.get("metadata")?.get("annotations")?.get(key)?.as_str()?.to_owned()),
            "labels" => {
                let labels = pairs(&self.object, "/metadata/labels").into_iter();
                Cell::Texts(labels.map(|(key, value)| format!("{key}={value}")).collect())
            }
            "pods" => Cell::Integer(self.pods.len() as i64),
            "pods-labelled" => {
                let values = self.pods.iter().filter_map(|pod| pod.get("metadata")?.get("labels")?.get(key)?.as_str());
                Cell::Texts(values.map(owned).collect())
            }
            "allocatable" | "requested" | "scoring" => {
                let found = self.resources(family).into_iter().find(|(name, _)| name == key);
                match (found, family) {
                    (Some((_, amount)), _) => Cell::Integer(amount),
                    (None, "allocatable") => return None,
                    (None, _) => Cell::Integer(0),
                }
            }
            _ => return None,
        })
    }

    fn resources(&self, family: &str) -> Vec<(String, i64)> {
        let of: fn(&Value) -> Resources = match family {
            "allocatable" => {
                let map = self.object.pointer("/status/allocatable").and_then(Value::as_object).into_iter().flatten();
                let map = map.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_value(amount).ok()?)));
                return amounts(map.collect());
            }
            "requested" => pod_resources::requests,
            "scoring" => scoring,
            _ => return Vec::new(),
        };
        let mut sum: BTreeMap<String, i64> = BTreeMap::new();
        for pod in &self.pods {
            for (name, amount) in amounts(of(&pod["spec"])) {
                *sum.entry(name).or_default() += amount;
            }
        }
        sum.into_iter().collect()
    }
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// None where no node has a value: there is nothing to say then, not even of what type it would be.
fn column(name: String, cells: &[Option<Cell>], dictionary: &mut Dictionary) -> Option<Column> {
    let mut validity = vec![0u8; cells.len().div_ceil(8)];
    for n in cells.iter().enumerate().filter_map(|(n, cell)| cell.is_some().then_some(n)) {
        validity[n / 8] |= 1 << (n % 8);
    }
    let values = match cells.iter().flatten().next()? {
        Cell::Integer(_) => {
            Values::Integers(cells.iter().map(|cell| if let Some(Cell::Integer(it)) = cell { *it } else { 0 }).collect())
        }
        Cell::Flag(_) => Values::Flags(cells.iter().map(|cell| matches!(cell, Some(Cell::Flag(true)))).collect()),
        Cell::Text(_) => {
            let text = |cell: &Option<Cell>| if let Some(Cell::Text(text)) = cell { dictionary.index(text) } else { 0 };
            Values::Texts(cells.iter().map(text).collect())
        }
        Cell::Texts(_) => {
            let mut lists = TextLists { ends: Vec::new(), items: Vec::new() };
            for cell in cells {
                if let Some(Cell::Texts(texts)) = cell {
                    lists.items.extend(texts.iter().map(|text| dictionary.index(text)));
                }
                lists.ends.push(u32::try_from(lists.items.len()).unwrap_or(u32::MAX));
            }
            Values::TextLists(lists)
        }
    };
    Some(Column { name, validity, values })
}

#[derive(Default)]
struct Dictionary {
    texts: Vec<String>,
    places: BTreeMap<String, u32>,
}

impl Dictionary {
    fn index(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_say_what_nodes_and_their_pods_are() {
        let cluster = Cluster::new(vec![
            json!({"kind": "Node", "metadata": {"name": "a", "labels": {"zone": "north"}}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}),
            json!({"kind": "Node", "metadata": {"name": "b"}, "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoSchedule"}]}}),
            json!({"kind": "Pod", "metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"cpu": "500m"}}}]}}),
            json!({"kind": "Pod", "metadata": {"name": "q"}, "spec": {"nodeName": "a", "containers": [{}]}, "status": {"phase": "Succeeded"}}),
        ]);
        let wanted = [
            "name",
            "label/zone",
            "allocatable/*",
            "requested/cpu",
            "scoring/memory",
            "unschedulable",
            "taints",
            "pods-labelled/app",
        ];
        let delta = cluster.delta(&wanted.map(str::to_owned));
        let find = |name: &str| delta.columns.iter().find(|column| column.name == name).unwrap();
        let word = |index: u32| delta.dictionary[index as usize].as_str();
        assert_eq!(find("allocatable/cpu").values, Values::Integers(vec![2000, 0]));
        assert_eq!(find("allocatable/cpu").validity, [1]);
        assert_eq!(find("allocatable/memory").values, Values::Integers(vec![1 << 30, 0]));
        assert_eq!(find("requested/cpu").values, Values::Integers(vec![500, 0]));
        assert_eq!(find("scoring/memory").values, Values::Integers(vec![200 << 20, 0]));
        assert_eq!(find("unschedulable").values, Values::Flags(vec![false, true]));
        let Values::Texts(zones) = &find("label/zone").values else { panic!("texts") };
        assert_eq!((word(zones[0]), find("label/zone").validity.as_slice()), ("north", &[1u8][..]));
        let Values::TextLists(taints) = &find("taints").values else { panic!("lists") };
        assert_eq!((taints.ends.as_slice(), word(taints.items[0])), (&[0u32, 1][..], "k=:NoSchedule"));
        let Values::TextLists(apps) = &find("pods-labelled/app").values else { panic!("lists") };
        assert_eq!((apps.ends.as_slice(), word(apps.items[0])), (&[1u32, 1][..], "web"));
    }
}
