//! Parameters of requests, and what each verb takes.

use serde_json::{Value, json};

pub(super) const PRETTY: &[&str] = &["pretty"];
pub(super) const CREATE: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "pretty"];
pub(super) const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"];
pub(super) const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
];
pub(super) const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
];
pub(super) const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
];
/// A get of a custom object.
pub(super) const GET_CUSTOM: &[&str] = &["pretty", "resourceVersion"];
pub(super) const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "pretty",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];

/// What a connection takes, by the kind of its options.
pub(super) fn of_connection(options: &str) -> &'static [&'static str] {
    match options {
        "PodAttachOptions" => &["container", "stderr", "stdin", "stdout", "tty"],
        "PodExecOptions" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "PodPortForwardOptions" => &["ports"],
        _ => &["path"],
    }
}

pub(super) fn in_path(name: &str) -> Value {
    let description = match name {
        "name" => "The name of the object.",
        "namespace" => "The namespace of the object.",
        _ => "The path below the object's own server.",
    };
    json!({"name": name, "in": "path", "required": true, "description": description,
        "schema": {"type": "string", "uniqueItems": true}})
}

pub(super) fn in_query(name: &str) -> Value {
    let (kind, description) = about(name);
    json!({"name": name, "in": "query", "description": description, "schema": {"type": kind, "uniqueItems": true}})
}

/// The type, and what the parameter is for.
fn about(name: &str) -> (&'static str, &'static str) {
    match name {
        "allowWatchBookmarks" => ("boolean", "Whether a watch tells from time to time how far it is."),
        "command" => ("string", "A word of the command, which no shell looks at."),
        "container" => ("string", "The container, where the pod has several."),
        "continue" => ("string", "The token of the answer before, to list what follows."),
        "dryRun" => ("string", "All: everything is checked and nothing is stored."),
        "fieldManager" => ("string", "As whose the fields that are written are recorded, up to 128 characters."),
        "fieldSelector" => ("string", "Only objects whose fields fit."),
        "fieldValidation" => ("string", "What is done about unknown and duplicate fields: Ignore, Warn (the default) or Strict."),
        "follow" => ("boolean", "Whether what is logged later follows."),
        "force" => ("boolean", "Whether an apply takes fields over that others manage."),
        "gracePeriodSeconds" => ("integer", "How long the deletion waits, in seconds; 0 is at once."),
        "ignoreStoreReadErrorWithClusterBreakingPotential" => ("boolean", "Whether an object that cannot be read is deleted."),
        "insecureSkipTLSVerifyBackend" => ("boolean", "Whether the node's certificate is not looked at."),
        "labelSelector" => ("string", "Only objects whose labels fit."),
        "limit" => ("integer", "How many objects one answer has at most."),
        "limitBytes" => ("integer", "How many bytes the answer has at most."),
        "orphanDependents" => ("boolean", "Deprecated: propagationPolicy says it."),
        "path" => ("string", "The path that the request is passed on to."),
        "ports" => ("integer", "The ports that are forwarded."),
        "pretty" => ("string", "true: the answer is indented."),
        "previous" => ("boolean", "Whether the log is that of the container's run before."),
        "propagationPolicy" => ("string", "What becomes of what the object owns: Orphan, Background or Foreground."),
        "resourceVersion" => ("string", "Which version of the data the answer is made from, by resourceVersionMatch."),
        "resourceVersionMatch" => ("string", "What resourceVersion means: Exact or NotOlderThan."),
        "sendInitialEvents" => ("boolean", "Whether a watch begins with the objects that are there, and a bookmark after them."),
        "shardSelector" => ("string", "Only objects of one part of the whole."),
        "sinceSeconds" => ("integer", "How many seconds ago the log begins."),
        "stderr" => ("boolean", "Whether standard error is connected."),
        "stdin" => ("boolean", "Whether standard input is connected."),
        "stdout" => ("boolean", "Whether standard output is connected."),
        "stream" => ("string", "Which of the container's streams is shown: All, Stdout or Stderr."),
        "tailLines" => ("integer", "How many lines from the end are shown."),
        "timeoutSeconds" => ("integer", "After how many seconds a list or watch ends."),
        "timestamps" => ("boolean", "Whether each line begins with its time."),
        "tty" => ("boolean", "Whether the streams are a terminal."),
        _ => ("boolean", "Whether changes follow, instead of a list."),
    }
}
