//! An object for people to read: what it is called, all its fields, and what happened to it, as kubectl describes kinds that
//! it does not know.

use jiff::Timestamp;
use mizzen_api::print;
use serde_json::{Map, Value};

use super::table::cell;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A line: how deep it stands, what it is about, and what is said of it.
struct Line {
    depth: usize,
    label: String,
    value: Option<String>,
}

/// Says everything about an object; `events` are those about it.
pub fn describe(object: &Value, events: &mut [Value], now: Timestamp) -> String {
    let mut lines = Vec::new();
    let metadata = &object["metadata"];
    lines.push(line(0, "Name:", cell(&metadata["name"])));
    if metadata["namespace"].is_string() {
        lines.push(line(0, "Namespace:", cell(&metadata["namespace"])));
    }
    pairs(&mut lines, "Labels:", &metadata["labels"], "=");
    pairs(&mut lines, "Annotations:", &metadata["annotations"], ": ");
    if let Some(object) = object.as_object() {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            ["name", "namespace", "labels", "annotations", "managedFields"]
                .iter()
                .for_each(|field| drop(metadata.remove(*field)));
        }
        if object.get("kind").and_then(Value::as_str) == Some("Secret") {
            conceal(&mut object);
        }
        fields(&mut lines, 0, &object);
    }
    let mut text = align(&lines);
    text.push_str(&happened(events, now));
    text
}

fn line(depth: usize, label: &str, value: String) -> Line {
    Line { depth, label: label.to_owned(), value: Some(value) }
}

/// Of a secret, only how much of it there is.
fn conceal(secret: &mut Map<String, Value>) {
    secret.remove("stringData");
    for value in secret.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut()) {
        let encoded = value.as_str().unwrap_or_default().trim_end_matches('=');
        *value = format!("{} bytes", encoded.len() * 3 / 4).into();
    }
}

/// Labels or annotations: the first beside the title, the others below it.
fn pairs(lines: &mut Vec<Line>, title: &str, values: &Value, between: &str) {
    let mut title = title;
    // What was applied last is the object once more, a secret's data too.
    let told = values.as_object().into_iter().flatten().filter(|(key, _)| *key != LAST_APPLIED);
    for (key, value) in told {
        lines.push(line(0, title, format!("{key}{between}{}", cell(value))));
        title = "";
    }
    if !title.is_empty() {
        lines.push(line(0, title, "<none>".to_owned()));
    }
}

fn fields(lines: &mut Vec<Line>, depth: usize, object: &Map<String, Value>) {
    for (name, value) in object {
        let label = format!("{}:", cell(&title(name).into()));
        match value {
            Value::Object(inner) => {
                lines.push(Line { depth, label, value: None });
                fields(lines, depth + 1, inner);
            }
            Value::Array(items) => {
                lines.push(Line { depth, label, value: None });
                for item in items {
                    match item {
                        Value::Object(inner) => fields(lines, depth + 1, inner),
                        plain => lines.push(Line { depth: depth + 1, label: cell(plain), value: None }),
                    }
                }
            }
            Value::String(text) if text.contains('\n') => {
                lines.push(Line { depth, label, value: None });
                let below = |text: &str| Line { depth: depth + 1, label: cell(&text.into()), value: None };
                lines.extend(text.lines().map(below));
            }
            plain => lines.push(line(depth, &label, cell(plain))),
        }
    }
}

/// `podIP` as `Pod IP`, `apiVersion` as `API Version`. What is no word of an API, such as a label's key, stays as it is.
fn title(name: &str) -> String {
    if name.contains(['-', '.', '_', '/']) {
        return name.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    // Several of them are one word as well.
    let name = name.replace("IPs", "Ips").replace("CIDRs", "Cidrs");
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let before_is_small = at > 0 && !letters[at - 1].is_uppercase();
        let after_is_small = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        let begins = letter.is_uppercase() && (before_is_small || after_is_small);
        match words.last_mut() {
            Some(word) if !begins => word.push(*letter),
            _ => words.push(letter.to_string()),
        }
    }
    let capital = |word: &String| match word.to_lowercase().as_str() {
        "api" | "url" | "uid" | "ip" | "id" | "cidr" => word.to_uppercase(),
        "ips" => "IPs".to_owned(),
        "cidrs" => "CIDRs".to_owned(),
        _ => {
            let mut rest = word.chars();
            rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
        }
    };
    words.iter().map(capital).collect::<Vec<String>>().join(" ")
}

/// Values stand below each other as long as line after line has one.
fn align(lines: &[Line]) -> String {
    let mut text = String::new();
    for block in lines.chunk_by(|a, b| a.value.is_some() && b.value.is_some()) {
        let begin = |line: &Line| format!("{}{}", "  ".repeat(line.depth), line.label);
        let width = block.iter().map(|line| begin(line).chars().count()).max().unwrap_or(0) + 2;
        for line in block {
            match &line.value {
                Some(value) => text.push_str(format!("{:<width$}{value}", begin(line)).trim_end()),
                None => text.push_str(&begin(line)),
            }
            text.push('\n');
        }
    }
    text
}

/// The events, oldest first.
fn happened(events: &mut [Value], now: Timestamp) -> String {
    if events.is_empty() {
        return "Events:  <none>\n".to_owned();
    }
    events.sort_by_key(|event| last_seen(event).to_owned());
    let mut rows = vec![
        ["Type", "Reason", "Age", "From", "Message"].map(str::to_owned),
        ["----", "------", "----", "----", "-------"].map(str::to_owned),
    ];
    rows.extend(events.iter().map(|event| {
        let component = &event["source"]["component"];
        let from = if component.as_str().is_none_or(str::is_empty) { &event["reportingComponent"] } else { component };
        [cell(&event["type"]), cell(&event["reason"]), age(event, now), cell(from), cell(&event["message"]).trim().to_owned()]
    }));
    let widths: [usize; 4] = std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0) + 2);
    let mut text = "Events:\n".to_owned();
    for row in &rows {
        let cells: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(&format!("  {cells}{}\n", row[4]));
    }
    text
}

fn last_seen(event: &Value) -> &str {
    let fields = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    fields.iter().find_map(|field| event.pointer(field)?.as_str()).unwrap_or_default()
}

/// `5s`, or `5s (x3 over 2m)`.
fn age(event: &Value, now: Timestamp) -> String {
    let last = print::since(last_seen(event), now);
    let count = event.pointer("/series/count").or(event.get("count")).and_then(Value::as_i64).unwrap_or(1);
    match event["firstTimestamp"].as_str().or(event["eventTime"].as_str()) {
        Some(first) if count > 1 => format!("{last} (x{count} over {})", print::since(first, now)),
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_fields_are_said_in_words() {
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "default", "labels": {"app": "web", "tier": "1"}, "managedFields": [1]},
            "spec": {"containers": [{"name": "c", "args": ["-f"]}]}, "status": {"podIP": "10.0.0.1", "phase": "Running"}});
        let said = describe(&object, &mut [], Timestamp::UNIX_EPOCH);
        let expected = "Name:         a\nNamespace:    default\nLabels:       app=web\n              tier=1\nAnnotations:  <none>\nAPI Version:  v1\nKind:         Pod\nMetadata:\nSpec:\n  Containers:\n    Args:\n      -f\n    Name:  c\nStatus:\n  Phase:   Running\n  Pod IP:  10.0.0.1\nEvents:  <none>\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn a_secret_is_not_shown_and_text_of_lines_is() {
        let annotations = serde_json::json!({LAST_APPLIED: "c2VjcmV0"});
        let secret = serde_json::json!({"kind": "Secret", "metadata": {"name": "a", "annotations": annotations}, "data": {"key": "c2VjcmV0IQ=="}});
        let text = describe(&secret, &mut [], Timestamp::UNIX_EPOCH);
        assert!(text.contains("Key:  7 bytes") && !text.contains("c2Vj"), "{text}");
        let map = serde_json::json!({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a.conf": "one\ntwo\n"}});
        let text = describe(&map, &mut [], Timestamp::UNIX_EPOCH);
        assert!(text.contains("  a.conf:\n    one\n    two\n"), "{text}");
    }

    #[test]
    fn names_of_fields_become_titles() {
        for (name, said) in [
            ("apiVersion", "API Version"),
            ("hostIPs", "Host IPs"),
            ("podIP", "Pod IP"),
            ("uid", "UID"),
            ("podCIDRs", "Pod CIDRs"),
            ("kubernetes.io/os", "kubernetes.io/os"),
            ("restartCount", "Restart Count"),
        ] {
            assert_eq!(title(name), said);
        }
    }

    #[test]
    fn events_are_said_from_the_oldest_on() {
        let event = |reason: &str, last: &str, count: i64| {
            json!({"type": "Normal", "reason": reason, "message": "m", "count": count, "source": {"component": "kubelet"},
                "firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": last})
        };
        let mut events = [event("Second", "1970-01-01T00:00:50Z", 3), event("First", "1970-01-01T00:00:00Z", 1)];
        let said = happened(&mut events, Timestamp::from_second(60).expect("is a time"));
        let expected = "Events:\n  Type    Reason  Age                From     Message\n  ----    ------  ----               ----     -------\n  Normal  First   60s                kubelet  m\n  Normal  Second  10s (x3 over 60s)  kubelet  m\n";
        assert_eq!(said, expected);
    }
}
