//! The kubelet's resource metrics in Prometheus' text format.

use std::fmt::Write;

use super::sample::{PodUse, Sample};

/// Of no sample at all, only that it failed.
pub(super) fn page(sample: Option<&Sample>) -> String {
    let mut page = String::new();
    if let Some(sample) = sample {
        of(&mut page, sample);
    }
    heading(&mut page, "scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
    let _ = writeln!(page, "scrape_error {}", u8::from(sample.is_none()));
    page
}

/// A value of a container, of which pod it is one, and where it stands on the page.
type OfContainer = (&'static str, &'static str, &'static str, fn(&super::sample::ContainerUse) -> Option<f64>);
type OfPod = (&'static str, &'static str, &'static str, fn(&PodUse) -> f64);

const CONTAINERS: [OfContainer; 3] = [
    (
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        |container| Some(seconds(container.cpu)),
    ),
    ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes", |container| {
        Some(bytes(container.memory))
    }),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds", |container| {
        Some(container.started?.as_duration().as_secs_f64())
    }),
];

const PODS: [OfPod; 2] = [
    ("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds", |pod| seconds(pod.cpu)),
    ("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes", |pod| bytes(pod.memory())),
];

fn of(page: &mut String, sample: &Sample) {
    let at = sample.at.as_millisecond();
    for (name, kind, help, value) in CONTAINERS {
        heading(page, name, kind, help);
        for pod in &sample.pods {
            for container in &pod.containers {
                let Some(value) = value(container) else { continue };
                let container = &container.name;
                let (namespace, pod) = (&pod.namespace, &pod.name);
                // Names of these kinds have nothing that would have to be escaped; writing into a String cannot fail.
                let labels = format!("container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"");
                let _ = writeln!(page, "{name}{{{labels}}} {value} {at}");
            }
        }
    }
    let node = [
        (
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
            seconds(sample.machine.cpu),
        ),
        ("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", bytes(sample.machine.working_set)),
    ];
    for (name, kind, help, value) in node {
        heading(page, name, kind, help);
        let _ = writeln!(page, "{name} {value} {at}");
    }
    for (name, kind, help, value) in PODS {
        heading(page, name, kind, help);
        for pod in &sample.pods {
            let value = value(pod);
            let (namespace, pod) = (&pod.namespace, &pod.name);
            let _ = writeln!(page, "{name}{{namespace=\"{namespace}\",pod=\"{pod}\"}} {value} {at}");
        }
    }
}

fn heading(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
}

#[expect(clippy::cast_precision_loss, reason = "a page of metrics has floating-point numbers")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "a page of metrics has floating-point numbers")]
fn bytes(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::super::sample::fixtures;
    use super::*;

    #[test]
    fn a_page_has_containers_pods_and_the_node() {
        let page = page(Some(&fixtures::sample()));
        for line in [
            r#"container_cpu_usage_seconds_total{container="app",namespace="n",pod="p"} 2.5 1700000000000"#,
            r#"container_memory_working_set_bytes{container="app",namespace="n",pod="p"} 1000 1700000000000"#,
            r#"container_start_time_seconds{container="app",namespace="n",pod="p"} 1600000000"#,
            r#"pod_cpu_usage_seconds_total{namespace="n",pod="p"} 3 1700000000000"#,
            r#"pod_memory_working_set_bytes{namespace="n",pod="p"} 3000 1700000000000"#,
            "node_cpu_usage_seconds_total 100 1700000000000",
            "node_memory_working_set_bytes 500000 1700000000000",
            "scrape_error 0",
        ] {
            assert!(page.lines().any(|known| known.starts_with(line)), "{line} in {page}");
        }
        assert_eq!(page.matches("# TYPE pod_cpu_usage_seconds_total counter").count(), 1);
    }

    #[test]
    fn without_a_sample_only_the_error_is_told() {
        assert_eq!(page(None).lines().last(), Some("scrape_error 1"));
        assert_eq!(page(None).lines().count(), 3);
    }
}
