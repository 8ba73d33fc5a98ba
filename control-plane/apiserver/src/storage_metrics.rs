//! How many objects are stored, at `/metrics`. They are counted when somebody asks.

use std::collections::BTreeMap;

use mizzen_api::Registry;
use mizzen_store::{RangeOptions, Store};

use crate::metrics::{heading, line};

pub(crate) fn report(page: &mut String, registry: &Registry, store: &dyn Store) {
    let one = RangeOptions { limit: 1, ..RangeOptions::default() };
    let stored = registry.iter().filter(|descriptor| !descriptor.virtual_only && descriptor.stored_as.is_none());
    // A custom kind is there once for each of its versions.
    let counts: BTreeMap<(String, String), usize> = stored
        .filter_map(|descriptor| {
            let found = store.range(&descriptor.prefix(), &one).ok()?;
            let resource = (descriptor.group.to_string(), descriptor.resource.to_string());
            Some((resource, found.items.len() + found.remaining))
        })
        .collect();
    heading(page, "apiserver_storage_objects", "gauge", "Objects stored, by resource.");
    for ((group, resource), count) in &counts {
        let name = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        line(page, "apiserver_storage_objects", &format!("resource=\"{name}\""), count);
    }
    heading(page, "apiserver_resource_objects", "gauge", "Objects stored, by group and resource.");
    for ((group, resource), count) in &counts {
        line(page, "apiserver_resource_objects", &format!("group=\"{group}\",resource=\"{resource}\""), count);
    }
}
