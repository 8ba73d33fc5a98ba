//! What is said of a decision; `status` of a `SchedulingReview` of `mizzen.dev`.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub scheduler_name: String,
    /// Where the pod is; empty while it waits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The nodes with the highest total, one of which the pod goes to; none when it fits nowhere.
    pub best: Vec<String>,
    /// Why it fits nowhere, as the FailedScheduling event says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// In the order in which they stand in the profile.
    pub plugins: Vec<PluginAnswer>,
    pub nodes: Vec<NodeAnswer>,
}

/// What a plugin says of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginAnswer {
    pub name: String,
    /// `native` or `wasm`.
    pub kind: &'static str,
    /// `enforce`, or `shadow` for one that only looks on: its answers stand here, and count for nothing.
    pub mode: &'static str,
    pub extension_points: Vec<&'static str>,
    /// Of its scores.
    pub weight: i64,
    /// `Considered`, `Skipped` when it has nothing to say of such a pod, `Rejected` for every node, or `Failed`.
    pub verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What becomes of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeAnswer {
    pub name: String,
    pub feasible: bool,
    /// The sum of all scores, each multiplied by its weight; of feasible nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Those that have something to say of it.
    pub plugins: Vec<PluginOnNode>,
}

/// What a plugin says of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginOnNode {
    pub name: String,
    /// `Passed` or `Rejected`, of those that filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// From 0 to 100, before it is multiplied by the weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
}
