//! Metrics as kubectl shows them.

use serde_json::Value;

use super::super::value::{int, list, text};

/// So many metrics are shown.
const SHOWN: usize = 2;

/// What each metric is and should be.
pub(super) fn summary(object: &Value) -> String {
    let wanted = list(object, "/spec/metrics");
    let current = list(object, "/status/currentMetrics");
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> = wanted.iter().enumerate().map(|(index, metric)| one(metric, current.get(index))).collect();
    match shown.len() {
        count if count > SHOWN => format!("{} + {} more...", shown[..SHOWN].join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

fn one(metric: &Value, current: Option<&Value>) -> String {
    let (kind, key) = match text(metric, "/type") {
        "External" => ("External", "external"),
        "Pods" => ("Pods", "pods"),
        "Object" => ("Object", "object"),
        "Resource" => ("Resource", "resource"),
        "ContainerResource" => ("ContainerResource", "containerResource"),
        _ => return "<unknown type>".to_owned(),
    };
    let now = current.and_then(|current| current.get(key)).map(|status| &status["current"]);
    let target = metric.pointer(&format!("/{key}/target")).unwrap_or(&Value::Null);
    let text_of = |value: Option<&Value>, field: &str| value.map(|value| text(value, &format!("/{field}")).to_owned());
    let known = |value: Option<String>| value.filter(|value| !value.is_empty()).unwrap_or_else(|| "<unknown>".to_owned());
    let average = format!("{}/{}", known(text_of(now, "averageValue")), text(target, "/averageValue"));
    match kind {
        "External" | "Object" if text(target, "/averageValue").is_empty() => {
            format!("{}/{}", known(text_of(now, "value")), text(target, "/value"))
        }
        "External" | "Object" => format!("{average} (avg)"),
        "Pods" => average,
        _ => {
            let name = text(metric, &format!("/{key}/name"));
            if !text(target, "/averageValue").is_empty() {
                return format!("{name}: {average}");
            }
            let percent = |value: Option<i64>, none: &str| value.map_or(none.to_owned(), |value| format!("{value}%"));
            let is = percent(now.and_then(|now| int(now, "/averageUtilization")), "<unknown>");
            format!("{name}: {is}/{}", percent(int(target, "/averageUtilization"), "<auto>"))
        }
    }
}
