//! Extension points at which a profile has nothing to choose: the queue does their work, the same for all profiles.

use super::config::{PluginSet, PluginsConfig};

/// The points with the plugins of Kubernetes whose work is done there.
fn points(plugins: &PluginsConfig) -> [(&'static str, &PluginSet, &'static [&'static str]); 3] {
    [
        ("queueSort", &plugins.queue_sort, &["PrioritySort"]),
        ("preEnqueue", &plugins.pre_enqueue, &["SchedulingGates"]),
        ("postBind", &plugins.post_bind, &[]),
    ]
}

/// What is there already may be enabled; what cannot be had, or cannot be left out, is refused.
///
/// # Errors
/// The point, and what is wrong at it.
pub(super) fn check(plugins: &PluginsConfig) -> Result<(), (&'static str, String)> {
    points(plugins)
        .into_iter()
        .try_for_each(|(point, set, there)| set.check().and_then(|()| chosen(set, there)).map_err(|why| (point, why)))
}

fn chosen(set: &PluginSet, there: &[&str]) -> Result<(), String> {
    if let Some(other) = set.enabled.iter().find(|plugin| !there.contains(&plugin.name.as_str())) {
        let have = if there.is_empty() { "no plugin has this point".to_owned() } else { format!("only {} is", there.concat()) };
        return Err(format!("plugin {:?} cannot be enabled here: {have}", other.name));
    }
    let is_enabled = |name: &str| set.enabled.iter().any(|plugin| plugin.name == name);
    match there.iter().find(|name| set.disables(name) && !is_enabled(name)) {
        Some(name) => Err(format!("{name} cannot be left out: the queue does its work for all profiles")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(plugins: Value) -> Result<(), String> {
        let plugins: PluginsConfig = serde_json::from_value(plugins).expect("is one");
        check(&plugins).map_err(|(point, why)| format!("{point}: {why}"))
    }

    #[test]
    fn what_kubernetes_has_by_default_may_stand_there() {
        for plugins in [
            json!({}),
            json!({"queueSort": {"enabled": [{"name": "PrioritySort"}], "disabled": [{"name": "*"}]}}),
            json!({"preEnqueue": {"enabled": [{"name": "SchedulingGates"}]}, "postBind": {"disabled": [{"name": "*"}]}}),
        ] {
            assert_eq!(said(plugins.clone()), Ok(()), "{plugins}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_point() {
        let coscheduling = json!({"enabled": [{"name": "Coscheduling"}]});
        for (plugins, why) in [
            (
                json!({"queueSort": coscheduling}),
                "queueSort: plugin \"Coscheduling\" cannot be enabled here: only PrioritySort is",
            ),
            (
                json!({"preEnqueue": coscheduling}),
                "preEnqueue: plugin \"Coscheduling\" cannot be enabled here: only SchedulingGates is",
            ),
            (
                json!({"postBind": coscheduling}),
                "postBind: plugin \"Coscheduling\" cannot be enabled here: no plugin has this point",
            ),
            (
                json!({"preEnqueue": {"disabled": [{"name": "*"}]}}),
                "preEnqueue: SchedulingGates cannot be left out: the queue does its work for all profiles",
            ),
            (
                json!({"queueSort": {"enabled": [{"name": "PrioritySort"}, {"name": "PrioritySort"}]}}),
                "queueSort: plugin \"PrioritySort\" is enabled twice",
            ),
        ] {
            assert_eq!(said(plugins), Err(why.to_owned()));
        }
    }
}
