//! What plugins that are Wasm components do, at `/metrics`: what policies and scheduler plugins have in common, and what is
//! said of scheduler plugins (docs/admission-policies.md and docs/plugins.md list the names).

use std::collections::BTreeMap;

use mizzen_api::ObjectRef;
use mizzen_extensions::plugins::{BOUNDS, Breaker, SchedulerPlugins, Vitals};

use crate::metrics::{heading, line};

/// Names and help texts of a kind of plugins' metrics.
pub(crate) struct Names {
    errors: [&'static str; 2],
    refused: [&'static str; 2],
    memory: [&'static str; 2],
    instances: [&'static str; 2],
    breaker: [&'static str; 2],
    durations: [&'static str; 2],
}

pub(crate) const POLICIES: Names = Names {
    errors: ["mizzen_policy_review_errors_total", "Reviews that failed."],
    refused: ["mizzen_policy_review_refused_total", "Reviews that were not tried: the breaker was open."],
    memory: ["mizzen_policy_memory_bytes", "Linear memory of the policy's instances."],
    instances: ["mizzen_policy_instances", "Instances of the policy that are kept or at work."],
    breaker: [
        "mizzen_policy_breaker_state",
        "1 for the state that the policy's breaker is in: it is not asked while that is open.",
    ],
    durations: ["mizzen_policy_review_duration_seconds", "How long reviews of requests took."],
};

const SCHEDULERS: Names = Names {
    errors: ["mizzen_scheduler_plugin_call_errors_total", "Calls that failed."],
    refused: ["mizzen_scheduler_plugin_call_refused_total", "Calls that were not tried: the breaker was open."],
    memory: ["mizzen_scheduler_plugin_memory_bytes", "Linear memory of the plugin's instance."],
    instances: ["mizzen_scheduler_plugin_instances", "Instances of the plugin."],
    breaker: [
        "mizzen_scheduler_plugin_breaker_state",
        "1 for the state that the plugin's breaker is in: it is not asked while that is open.",
    ],
    durations: [
        "mizzen_scheduler_plugin_call_duration_seconds",
        "How long calls took, one for all nodes of a batch; to a fourth of it.",
    ],
};

/// Appends how plugins do, each with its labels.
pub(crate) fn vitals(page: &mut String, names: &Names, all: &[(&str, &Vitals)]) {
    let mut simple = |[name, help]: [&str; 2], kind: &str, value: fn(&Vitals) -> u64| {
        heading(page, name, kind, help);
        all.iter().for_each(|(labels, vitals)| line(page, name, labels, value(vitals)));
    };
    simple(names.errors, "counter", |vitals| vitals.errors);
    simple(names.refused, "counter", |vitals| vitals.refused);
    simple(names.memory, "gauge", |vitals| vitals.memory);
    simple(names.instances, "gauge", |vitals| vitals.instances);
    let [name, help] = names.breaker;
    heading(page, name, "gauge", help);
    for (labels, vitals) in all {
        for state in Breaker::ALL {
            line(page, name, &format!("{labels},state=\"{}\"", state.as_str()), u8::from(vitals.breaker == state));
        }
    }
    let [name, help] = names.durations;
    heading(page, name, "histogram", help);
    for (labels, vitals) in all {
        let mut count = 0;
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(vitals.times.buckets) {
            count += bucket;
            line(page, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
        }
        line(page, &format!("{name}_sum"), labels, vitals.times.sum);
        line(page, &format!("{name}_count"), labels, count);
    }
}

/// What plugins of all kinds count themselves, by name: whether it is a counter, and the lines. Where two disagree on that, the
/// first has it.
#[derive(Default)]
pub(crate) struct Own(BTreeMap<String, (bool, String)>);

impl Own {
    pub(crate) fn add(&mut self, ObjectRef { namespace, name }: &ObjectRef, vitals: Option<&Vitals>) {
        for metric in vitals.into_iter().flat_map(|vitals| &vitals.own) {
            let (is_counter, lines) = self.0.entry(metric.name.clone()).or_insert_with(|| (metric.is_counter, String::new()));
            if *is_counter == metric.is_counter {
                let labels = format!("plugin=\"{name}\",plugin_namespace=\"{namespace}\"");
                line(lines, &format!("mizzen_plugin_user_{}", metric.name), &labels, metric.value);
            }
        }
    }

    pub(crate) fn report(self, page: &mut String) {
        for (name, (is_counter, lines)) in self.0 {
            let kind = if is_counter { "counter" } else { "gauge" };
            heading(page, &format!("mizzen_plugin_user_{name}"), kind, "What the plugin says itself.");
            page.push_str(&lines);
        }
    }
}

/// Appends the metrics of scheduler plugins; nothing where there are none.
pub(crate) fn schedulers(page: &mut String, plugins: &dyn SchedulerPlugins, own: &mut Own) {
    let all = plugins.all();
    if all.is_empty() {
        return;
    }
    let labels: Vec<String> = all.iter().map(|plugin| format!("plugin=\"{}\"", plugin.object)).collect();
    let name = "mizzen_scheduler_plugin_loaded";
    heading(page, name, "gauge", "Whether a component is at work for the plugin's object; the digest is that of its code.");
    for (plugin, labels) in all.iter().zip(&labels) {
        let digest = plugin.vitals.as_ref().map_or("", |vitals| &vitals.digest);
        line(page, name, &format!("{labels},digest=\"{digest}\""), u8::from(plugin.vitals.is_some()));
    }
    let loaded = all.iter().zip(&labels).filter_map(|(plugin, labels)| Some((labels.as_str(), plugin.vitals.as_ref()?)));
    vitals(page, &SCHEDULERS, &loaded.collect::<Vec<_>>());
    let name = "mizzen_scheduler_plugin_shadow_decisions_total";
    heading(page, name, "counter", "Pods placed while the plugin looked on, by what would have become of them with it.");
    for (plugin, labels) in all.iter().zip(&labels).filter(|(plugin, _)| plugin.shadow.decisions > 0) {
        let shadow = plugin.shadow;
        let same = shadow.decisions.saturating_sub(shadow.elsewhere + shadow.unplaced);
        for (outcome, count) in [("same", same), ("elsewhere", shadow.elsewhere), ("unplaced", shadow.unplaced)] {
            line(page, name, &format!("{labels},outcome=\"{outcome}\""), count);
        }
    }
    for plugin in &all {
        own.add(&ObjectRef::cluster(&plugin.object), plugin.vitals.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mizzen_extensions::plugins::{OwnMetric, SchedulerPlugin, Shadow, Times};

    use super::*;

    struct Two;

    impl SchedulerPlugins for Two {
        fn all(&self) -> Vec<SchedulerPlugin> {
            let own = |is_counter| OwnMetric { name: "asked".to_owned(), is_counter, value: 3.0 };
            let spot = Vitals {
                digest: "sha256:aa".to_owned(),
                times: Times::of([(Duration::from_micros(3), 7), (Duration::from_secs(2), 1)], Duration::from_secs(2)),
                errors: 1,
                breaker: Breaker::Open,
                own: vec![own(true)],
                ..Vitals::default()
            };
            let shadow = Shadow { decisions: 9, elsewhere: 2, unplaced: 3 };
            vec![
                SchedulerPlugin { object: "spot".to_owned(), vitals: Some(spot), shadow },
                SchedulerPlugin { object: "lost".to_owned(), ..SchedulerPlugin::default() },
            ]
        }
    }

    #[test]
    fn scheduler_plugins_are_told_of_whether_loaded_or_not() {
        let (mut page, mut own) = (String::new(), Own::default());
        let policy = OwnMetric { name: "asked".to_owned(), is_counter: true, value: 5.0 };
        own.add(&ObjectRef::new("d", "team"), Some(&Vitals { own: vec![policy], ..Vitals::default() }));
        schedulers(&mut page, &Two, &mut own);
        own.report(&mut page);
        for wanted in [
            "mizzen_scheduler_plugin_loaded{plugin=\"spot\",digest=\"sha256:aa\"} 1\n",
            "mizzen_scheduler_plugin_loaded{plugin=\"lost\",digest=\"\"} 0\n",
            "mizzen_scheduler_plugin_call_errors_total{plugin=\"spot\"} 1\n",
            "mizzen_scheduler_plugin_breaker_state{plugin=\"spot\",state=\"open\"} 1\n",
            "mizzen_scheduler_plugin_call_duration_seconds_bucket{plugin=\"spot\",le=\"0.000005\"} 7\n",
            "mizzen_scheduler_plugin_call_duration_seconds_count{plugin=\"spot\"} 8\n",
            "mizzen_scheduler_plugin_shadow_decisions_total{plugin=\"spot\",outcome=\"same\"} 4\n",
            "mizzen_plugin_user_asked{plugin=\"team\",plugin_namespace=\"d\"} 5\n\
             mizzen_plugin_user_asked{plugin=\"spot\",plugin_namespace=\"\"} 3\n",
        ] {
            assert!(page.contains(wanted), "{wanted} in {page}");
        }
        assert_eq!(page.matches("# TYPE mizzen_plugin_user_asked counter").count(), 1);
    }
}
