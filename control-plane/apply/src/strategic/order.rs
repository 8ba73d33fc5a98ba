//! The order of a merged list: what the patch names stands in the patch's order, what only the server knows stays
//! where it stood relative to it, as far as both can be kept.

use std::collections::HashMap;

use serde_json::Value;

/// Arranges `list`. `wanted` is the patch's order and `before` the server's, both as identities.
pub(super) fn arrange(list: &mut Vec<Value>, identity: impl Fn(&Value) -> String, wanted: &[String], before: Vec<String>) {
    let mut wanted_places: HashMap<&str, usize> = HashMap::with_capacity(wanted.len());
    for (place, identity) in wanted.iter().enumerate() {
        wanted_places.entry(identity).or_insert(place);
    }
    let mut server_places: HashMap<String, usize> = HashMap::with_capacity(before.len());
    for (place, identity) in before.into_iter().enumerate() {
        server_places.entry(identity).or_insert(place);
    }

    let mut named = Vec::new();
    let mut server_only = Vec::new();
    for item in std::mem::take(list) {
        let identity = identity(&item);
        let server_place = server_places.get(&identity).copied();
        match wanted_places.get(identity.as_str()) {
            Some(place) => named.push((*place, server_place, item)),
            None => server_only.push((server_place, item)),
        }
    }
    named.sort_by_key(|(place, _, _)| *place);
    server_only.sort_by_key(|(server_place, _)| *server_place);

    let mut named = named.into_iter().peekable();
    for (server_place, item) in server_only {
        // Named elements go first unless the server had this one before the next of them.
        while let Some((_, _, next)) = named.next_if(|(_, place, _)| place.is_none_or(|place| server_place > Some(place))) {
            list.push(next);
        }
        list.push(item);
    }
    list.extend(named.map(|(_, _, item)| item));
}
