//! Test tables: recorded requests or clusters, and what the plugin must answer.

mod policy;
mod scheduler;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_plugins_host::{Artifact, LoadError, PluginOptions, World};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ToolkitError;
use crate::log::Stderr;
use crate::recorded::{Many, Recorded, Source, yaml};

/// A file of questions and answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Table {
    /// For the cases that have none of their own.
    #[serde(default = "nothing")]
    settings: Value,
    /// What a context-aware policy finds.
    context: Option<Source<Many>>,
    /// Nodes, and pods that run.
    cluster: Option<Source<Many>>,
    cases: Vec<Case>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    name: String,
    settings: Option<Value>,
    context: Option<Source<Many>>,
    cluster: Option<Source<Many>>,
    request: Option<Source<Recorded>>,
    /// Pods whose cycles came before and are not over.
    #[serde(default)]
    before: Vec<Value>,
    pod: Option<Value>,
    expect: Value,
}

fn nothing() -> Value {
    json!({})
}

/// How one case went.
pub struct Outcome {
    pub name: String,
    /// What was not as expected.
    pub failure: Option<String>,
    pub took: Duration,
}

impl Table {
    /// # Errors
    /// When the file cannot be read, holds something else, or holds no case.
    pub(crate) fn read(path: &Path) -> Result<Self, ToolkitError> {
        let table = Self { path: path.to_owned(), ..yaml::<Self>(path)? };
        match table.cases.is_empty() {
            true => Err(table.wrong("there is no case")),
            false => Ok(table),
        }
    }

    fn wrong(&self, why: impl Into<String>) -> ToolkitError {
        ToolkitError::Table { path: self.path.clone(), why: why.into() }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn options(&self, case: &Case) -> PluginOptions {
        let settings = case.settings.as_ref().unwrap_or(&self.settings).to_string();
        PluginOptions { settings, log: Arc::new(Stderr), ..PluginOptions::new("plugin") }
    }

    fn objects(&self, own: Option<&Source<Many>>, common: Option<&Source<Many>>) -> Result<Vec<Value>, ToolkitError> {
        own.or(common).map_or(Ok(Vec::new()), |source| Ok(source.read(self.folder())?.into_objects()))
    }

    fn expectation<T: serde::de::DeserializeOwned>(&self, case: &Case) -> Result<T, ToolkitError> {
        serde_json::from_value(case.expect.clone()).map_err(|error| self.wrong(format!("{}: expect: {error}", case.name)))
    }
}

/// Asks every question of a table, each of an instance of its own. Runs the plugin on this thread.
///
/// # Errors
/// When the table cannot be read; that answers are wrong is in the outcomes.
pub fn run(artifact: &Artifact, table: &Path) -> Result<Vec<Outcome>, ToolkitError> {
    let table = Table::read(table)?;
    let outcome = |case: &Case| {
        let began = Instant::now();
        let failure = match artifact.world() {
            World::Scheduler => scheduler::run(artifact, &table, case)?,
            World::Policy | World::Kubewarden | World::Module => policy::run(artifact, &table, case)?,
        };
        Ok(Outcome { name: case.name.clone(), failure, took: began.elapsed() })
    };
    table.cases.iter().map(outcome).collect()
}

pub(crate) use policy::questions;
pub(crate) use scheduler::{cycle, scenes};

/// What loading came to, where it may have been meant to fail: `Err` is the failure of the case.
fn loaded<T>(loaded: Result<T, LoadError>, refused: Option<&str>) -> Result<Option<T>, String> {
    match (loaded, refused) {
        (Ok(plugin), None) => Ok(Some(plugin)),
        (Ok(_), Some(_)) => Err("the settings were accepted".to_owned()),
        (Err(LoadError::Settings(why)), Some(part)) if why.contains(part) => Ok(None),
        (Err(error), _) => Err(error.to_string()),
    }
}

/// What of `wanted` is not in `found`: maps may have more, everything else must be the same.
fn lacks(found: &Value, wanted: &Value, at: &str) -> Option<String> {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().find_map(|(key, value)| lacks(found.get(key).unwrap_or(&Value::Null), value, &format!("{at}.{key}")))
        }
        (Value::Array(have), Value::Array(want)) if have.len() == want.len() => {
            have.iter().zip(want).enumerate().find_map(|(n, (have, want))| lacks(have, want, &format!("{at}[{n}]")))
        }
        _ if found == wanted => None,
        _ => Some(format!("{at} is {found} and should be {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_may_have_more_than_is_wanted_and_a_list_may_not() {
        let found = json!({"a": 1, "b": {"c": [1, {"d": 2, "e": 3}]}});
        assert_eq!(lacks(&found, &json!({"b": {"c": [1, {"d": 2}]}}), "object"), None);
        assert_eq!(
            lacks(&found, &json!({"b": {"c": [1]}}), "object").unwrap(),
            "object.b.c is [1,{\"d\":2,\"e\":3}] and should be [1]"
        );
        assert_eq!(lacks(&found, &json!({"z": 1}), "object").unwrap(), "object.z is null and should be 1");
        assert_eq!(lacks(&found, &json!({"z": null}), "object"), None);
    }
}
