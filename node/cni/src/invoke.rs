//! One call of one plugin (specification, section 2).

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::config::Plugin;
use crate::error::{CniError, Failure};
use crate::version::Version;

/// A plugin that takes longer is killed: as long as the kubelet waits for a sandbox.
const PATIENCE: Duration = Duration::from_secs(120);

/// The parameters of a call, each a variable of the plugin's environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) command: &'static str,
    pub(crate) container: &'a str,
    pub(crate) interface: &'a str,
    /// Empty when there is none any more.
    pub(crate) namespace: &'a str,
    pub(crate) args: &'a str,
}

/// What a plugin is given: its own part of the configuration, with the network's name and version and what is added for this
/// call.
pub(crate) fn input(plugin: &Plugin, network: &str, version: Version, further: Map<String, Value>) -> Value {
    let mut fields = plugin.fields.clone();
    for key in ["capabilities", "cniVersions", "plugins", "disableCheck", "disableGC"] {
        fields.remove(key);
    }
    fields.insert("cniVersion".into(), version.to_string().into());
    fields.insert("name".into(), network.into());
    fields.extend(further);
    Value::Object(fields)
}

/// Runs a plugin; its result, or null where it has none.
pub(crate) async fn invoke(dirs: &[PathBuf], plugin: &str, call: &Call<'_>, input: &Value) -> Result<Value, CniError> {
    let (plugin_name, command) = (plugin.to_owned(), call.command.to_ascii_lowercase());
    let executable = dirs.iter().map(|dir| dir.join(plugin)).find(|path| path.is_file());
    let executable = executable.ok_or_else(|| CniError::NoPlugin { plugin: plugin.to_owned(), dirs: dirs.to_vec() })?;
    let broken = |why: String| CniError::Broken { plugin: plugin_name.clone(), command: command.clone(), why };
    let path = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":");
    let mut child = Command::new(executable)
        .env("CNI_COMMAND", call.command)
        .env("CNI_CONTAINERID", call.container)
        .env("CNI_IFNAME", call.interface)
        .env("CNI_NETNS", call.namespace)
        .env("CNI_ARGS", call.args)
        .env("CNI_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| broken(error.to_string()))?;
    let text = input.to_string();
    let stdin = child.stdin.take();
    let run = async {
        // One that does not read what it is given may end before it is written.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(text.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(PATIENCE, run).await {
        Ok(output) => output.map_err(|error| broken(error.to_string()))?,
        Err(_) => return Err(broken(format!("it did not end within {} s", PATIENCE.as_secs()))),
    };
    if !output.status.success() {
        return Err(match failure(&output) {
            Some(failure) => CniError::Plugin { plugin: plugin_name, command, failure },
            None => broken(last_words(&output)),
        });
    }
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&output.stdout).map_err(|source| CniError::Answer { plugin: plugin_name.clone(), command, source })
}

/// The versions that a plugin speaks.
pub(crate) async fn versions(dirs: &[PathBuf], plugin: &str) -> Result<Vec<Version>, CniError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spoken {
        supported_versions: Vec<String>,
    }
    // Plugins that look at them want them all, whatever the command.
    let call = Call { command: "VERSION", container: "dummy", interface: "dummy", namespace: "dummy", args: "" };
    let answer = invoke(dirs, plugin, &call, &json!({"cniVersion": Version::NEWEST.to_string()})).await?;
    let spoken = Spoken::deserialize(answer).map_err(|source| CniError::Answer {
        plugin: plugin.to_owned(),
        command: "version".to_owned(),
        source,
    })?;
    Ok(spoken.supported_versions.iter().filter_map(|text| text.parse().ok()).collect())
}

/// What a plugin said on its standard output of why it failed.
fn failure(output: &Output) -> Option<Failure> {
    let failure: Failure = serde_json::from_slice(&output.stdout).ok()?;
    (failure != Failure::default()).then_some(failure)
}

fn last_words(output: &Output) -> String {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().chars().take(1024).collect::<String>();
    let (out, err) = (said(&output.stdout), said(&output.stderr));
    format!("{}, it said {:?}", output.status, [out, err].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkList;

    #[test]
    fn a_plugin_gets_its_part_with_the_networks_name() {
        let text = br#"{"cniVersion": "1.0.0", "name": "pods", "disableCheck": true, "plugins":
            [{"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}]}"#;
        let list = NetworkList::parse(text).expect("is valid");
        let further = Map::from_iter([("prevResult".to_owned(), json!({"ips": []}))]);
        let expected = json!({"cniVersion": "1.0.0", "name": "pods", "type": "portmap", "snat": true, "prevResult": {"ips": []}});
        assert_eq!(input(&list.plugins[0], "pods", Version(1, 0, 0), further), expected);
    }
}
