//! `mizzen get`: the server's table, or the objects themselves.

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::kube_client::Connection;
use super::resources::{self, Resource};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Resource, such as `pods` or `deploy`
    resource: String,
    /// One object
    name: Option<String>,
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Label selector
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    #[arg(long, default_value = "")]
    field_selector: String,
    #[arg(short, long)]
    output: Option<Output>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Wide,
    Json,
    Yaml,
    Name,
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = args.connection.client().await?;
    let resource = resources::resolve(&client, &args.resource).await?;
    let accept = match args.output {
        None | Some(Output::Wide) => TABLE,
        Some(_) => "application/json",
    };
    let request = http::Request::get(path(&args, &resource)).header("Accept", accept).body(Vec::new())?;
    let answer: Value = client.request(request).await?;
    let text = match args.output {
        None => table(&answer, false, args.all_namespaces)?,
        Some(Output::Wide) => table(&answer, true, args.all_namespaces)?,
        Some(Output::Json) => format!("{}\n", serde_json::to_string_pretty(&answer)?),
        Some(Output::Yaml) => serde_yaml_ng::to_string(&answer)?,
        Some(Output::Name) => names(&answer, &resource),
    };
    print!("{text}");
    Ok(())
}

fn path(args: &Args, resource: &Resource) -> String {
    let collection = resource.path((!args.all_namespaces).then_some(args.namespace.as_str()));
    match &args.name {
        Some(name) => format!("{collection}/{name}"),
        None => {
            let query: Vec<String> = [("labelSelector", &args.selector), ("fieldSelector", &args.field_selector)]
                .iter()
                .filter(|(_, selector)| !selector.is_empty())
                .map(|(key, selector)| format!("{key}={}", escape(selector)))
                .collect();
            format!("{collection}?{}", query.join("&"))
        }
    }
}

/// Percent-encodes everything that is not plain in a query (RFC 3986).
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn names(answer: &Value, resource: &Resource) -> String {
    let items = match answer.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().collect(),
        None => vec![answer],
    };
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .map(|name| format!("{}/{name}\n", resource.qualified()))
        .collect()
}

/// A `meta/v1.Table` in aligned columns.
fn table(answer: &Value, wide: bool, namespaces: bool) -> anyhow::Result<String> {
    if answer["kind"] != "Table" {
        bail!("the server answered with {} instead of a table", answer["kind"]);
    }
    let columns = answer["columnDefinitions"].as_array().context("the table has no columns")?;
    let shown: Vec<usize> =
        (0..columns.len()).filter(|index| wide || columns[*index]["priority"].as_i64().unwrap_or(0) == 0).collect();
    let rows = answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return Ok("No resources found\n".to_owned());
    }
    let mut lines = vec![shown.iter().map(|index| cell(&columns[*index]["name"]).to_uppercase()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| shown.iter().map(|index| cell(&row["cells"][*index])).collect()));
    if namespaces && rows.iter().any(|row| row["object"]["metadata"]["namespace"].is_string()) {
        lines[0].insert(0, "NAMESPACE".to_owned());
        for (line, row) in lines[1..].iter_mut().zip(rows) {
            line.insert(0, cell(&row["object"]["metadata"]["namespace"]));
        }
    }
    Ok(align(&lines))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width =
        |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let format = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    lines.iter().map(format).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_hides_wide_columns() {
        let answer = json!({"kind": "Table",
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["long-name", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "a"}}},
                     {"cells": ["b", 2, null], "object": {"metadata": {"namespace": "default"}}}]});
        assert_eq!(table(&answer, false, false).expect("formats"), "NAME        READY\nlong-name   1/1\nb           2\n");
        let wide = table(&answer, true, true).expect("formats");
        assert!(wide.starts_with("NAMESPACE   NAME        READY   IP\na           long-name   1/1     10.0.0.1\n"), "{wide}");
    }

    #[test]
    fn selectors_are_escaped_in_the_query() {
        assert_eq!(escape("a in (b,c)"), "a%20in%20%28b%2Cc%29");
    }
}
