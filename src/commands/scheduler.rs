//! `mizzen scheduler`: what the scheduler of a cluster makes of pods.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};

use crate::client::failure::print;
use crate::client::output::Output;
use crate::client::session::{Connection, Session, escape};
use crate::client::table::{Columns, Printer, cell};
use crate::client::targets::check_name;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a whole decision about a pod: each plugin's verdict and score for each node
    ///
    /// A pod that has a node is looked at as if it had none yet. The decision is made over the cluster as it is now, and
    /// nothing comes of it.
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    /// The pod; pod/NAME does too
    pod: String,
    /// Only these nodes
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    node: Vec<String>,
    /// json, yaml, jsonpath=TEMPLATE; wide has a column for every plugin
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

pub async fn run(args: Args) -> ExitCode {
    let Command::Explain(explain) = &args.command;
    args.connection.run(async |session| explain.explain(session).await).await
}

impl Explain {
    async fn explain(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let output =
            if self.output.is_empty() { Output::Table } else { Output::parse(&self.output).map_err(anyhow::Error::msg)? };
        if matches!(output, Output::Name) {
            bail!("a decision has no name: allowed formats are: json,jsonpath,wide,yaml");
        }
        let name = self.pod.split_once('/').filter(|(kind, _)| matches!(*kind, "pod" | "pods" | "po"));
        let name = name.map_or(self.pod.as_str(), |(_, name)| name);
        check_name(name)?;
        let path = format!("/apis/mizzen.dev/v1alpha1/namespaces/{}/schedulingreviews", escape(&session.namespace));
        let question = json!({
            "apiVersion": "mizzen.dev/v1alpha1", "kind": "SchedulingReview", "metadata": {"name": name}, "spec": {"podName": name},
        });
        let mut review = session.put(Method::POST, &path, "application/json", &question).await?;
        if !self.node.is_empty()
            && let Some(nodes) = review.pointer_mut("/status/nodes").and_then(Value::as_array_mut)
        {
            nodes.retain(|node| self.node.iter().any(|name| node["name"] == name.as_str()));
        }
        print(match output {
            Output::Table | Output::Wide => report(&session.namespace, &review, matches!(output, Output::Wide))?,
            Output::Yaml | Output::Json | Output::JsonPath(_) | Output::Name => output.one(review)?,
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map_or(&[], Vec::as_slice)
}

/// For people: who decides, what comes of it, what plugins say of the pod, and the nodes, the best ones first.
fn report(namespace: &str, review: &Value, wide: bool) -> anyhow::Result<String> {
    let status = &review["status"];
    let pod = cell(&review["spec"]["podName"]);
    let mut text = format!("Pod:       {namespace}/{pod}\nProfile:   {}\n", cell(&status["schedulerName"]));
    match status["node"].as_str() {
        Some(node) => text += &format!("Node:      {node} (what follows is as if it had none)\n"),
        None => text += "Node:      <none>\n",
    }
    let best: Vec<String> = list(status, "best").iter().map(cell).collect();
    match (best.as_slice(), status["message"].as_str()) {
        ([], message) => text += &format!("Decision:  {}\n", message.unwrap_or("no node will do")),
        ([only], _) => text += &format!("Decision:  {only}\n"),
        (several, _) => text += &format!("Decision:  one of {} equal nodes\n", several.len()),
    }
    text += "\n";
    text += &Printer::new(Columns::default(), None).print(&plugins(status, wide))?;
    text += "\n";
    text += &Printer::new(Columns::default(), None).print(&nodes(status, wide))?;
    Ok(text)
}

fn table(names: &[&str], rows: Vec<Vec<String>>) -> Value {
    let columns: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let rows: Vec<Value> = rows.into_iter().map(|cells| json!({"cells": cells})).collect();
    json!({"kind": "Table", "columnDefinitions": columns, "rows": rows})
}

fn joined(values: &[Value], between: &str) -> String {
    values.iter().map(cell).collect::<Vec<_>>().join(between)
}

fn plugins(status: &Value, wide: bool) -> Value {
    let is_shown = |plugin: &&Value| wide || plugin["verdict"] != "Skipped";
    let row = |plugin: &Value| {
        let is_shadow = plugin["mode"] == "shadow";
        vec![
            cell(&plugin["name"]),
            if is_shadow { "wasm, shadow".to_owned() } else { cell(&plugin["kind"]) },
            joined(list(plugin, "extensionPoints"), ","),
            cell(&plugin["weight"]),
            [vec![cell(&plugin["verdict"])], list(plugin, "reasons").iter().map(cell).collect()].concat().join(": "),
        ]
    };
    let rows = list(status, "plugins").iter().filter(is_shown).map(row).collect();
    table(&["Plugin", "Kind", "Points", "Weight", "Pod"], rows)
}

/// A column for each plugin that has scores or rejects some node; `wide` for all that were asked about nodes.
fn nodes(status: &Value, wide: bool) -> Value {
    let mut nodes: Vec<&Value> = list(status, "nodes").iter().collect();
    nodes.sort_by_key(|node| std::cmp::Reverse((node["feasible"] == true, node["total"].as_i64())));
    let has_word = |answer: &&Value| wide || answer["verdict"] == "Rejected" || answer.get("score").is_some();
    let heard: BTreeSet<&str> = nodes
        .iter()
        .flat_map(|node| list(node, "plugins"))
        .filter(has_word)
        .filter_map(|answer| answer["name"].as_str())
        .collect();
    let in_order = list(status, "plugins").iter().filter_map(|plugin| plugin["name"].as_str());
    let columns: Vec<&str> = in_order.filter(|name| heard.contains(name)).collect();
    let is_shadow =
        |name: &str| list(status, "plugins").iter().any(|plugin| plugin["name"] == name && plugin["mode"] == "shadow");
    let row = |node: &&Value| {
        let answer = |name: &str| list(node, "plugins").iter().find(|answer| answer["name"] == name);
        let of_plugin = |name: &&str| match answer(name) {
            Some(answer) if answer["verdict"] == "Rejected" => "no".to_owned(),
            Some(answer) if answer.get("score").is_some() => cell(&answer["score"]),
            Some(_) => "yes".to_owned(),
            None => "-".to_owned(),
        };
        let said = list(node, "plugins").iter().filter(|answer| answer["verdict"] == "Rejected").map(|answer| {
            let name = cell(&answer["name"]);
            let who = if is_shadow(&name) { format!("{name} (shadow)") } else { name };
            format!("{who}: {}", joined(list(answer, "reasons"), ", "))
        });
        let total = if node["feasible"] == true { cell(&node["total"]) } else { "no".to_owned() };
        let mut cells = vec![cell(&node["name"]), total];
        cells.extend(columns.iter().map(of_plugin));
        cells.push(said.collect::<Vec<_>>().join("; "));
        cells
    };
    let names: Vec<&str> = ["Node", "Total"].into_iter().chain(columns.iter().copied()).chain(["Why not"]).collect();
    table(&names, nodes.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_told_with_the_best_nodes_first_and_a_column_for_who_has_a_word() {
        let review = json!({"spec": {"podName": "web"}, "status": {
        "schedulerName": "default-scheduler", "best": ["b"],
        "plugins": [
            {"name": "NodeName", "kind": "native", "mode": "enforce", "extensionPoints": ["filter"], "weight": 1, "verdict": "Considered"},
            {"name": "Fit", "kind": "native", "mode": "enforce", "extensionPoints": ["filter", "score"], "weight": 2, "verdict": "Considered"},
            {"name": "Ports", "kind": "native", "mode": "enforce", "extensionPoints": ["filter"], "weight": 1, "verdict": "Skipped"},
            {"name": "spot", "kind": "wasm", "mode": "shadow", "extensionPoints": ["filter"], "weight": 1, "verdict": "Failed",
             "reasons": ["it trapped"]},
        ],
        "nodes": [
            {"name": "a", "feasible": false, "plugins": [
                {"name": "NodeName", "verdict": "Passed"}, {"name": "Fit", "verdict": "Rejected", "reasons": ["no cpu", "no memory"]},
                {"name": "spot", "verdict": "Rejected", "reasons": ["too dear"]}]},
            {"name": "b", "feasible": true, "total": 80, "plugins": [
                {"name": "NodeName", "verdict": "Passed"}, {"name": "Fit", "verdict": "Passed", "score": 40},
                {"name": "spot", "verdict": "Passed"}]},
        ]}});
        let told = report("default", &review, false).expect("prints");
        let expected = "\
Pod:       default/web
Profile:   default-scheduler
Node:      <none>
Decision:  b

PLUGIN     KIND           POINTS         WEIGHT   POD
NodeName   native         filter         1        Considered
Fit        native         filter,score   2        Considered
spot       wasm, shadow   filter         1        Failed: it trapped

NODE   TOTAL   FIT   SPOT   WHY NOT
b      80      40    yes
a      no      no    no     Fit: no cpu, no memory; spot (shadow): too dear
";
        assert_eq!(told, expected);
        let wide = report("default", &review, true).expect("prints");
        assert!(wide.contains("Ports") && wide.contains("NODENAME"), "{wide}");
    }
}
