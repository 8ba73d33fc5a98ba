//! Network configurations: which file is the node's, and what it says (specification, section 1).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{CniError, io};
use crate::version::Version;

/// As other runtimes have it.
const EXTENSIONS: [&str; 3] = ["conf", "conflist", "json"];

/// A chain of plugins.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkList {
    pub name: String,
    /// The versions that the configuration is good for.
    pub offered: Vec<Version>,
    /// Never `CHECK`.
    pub disable_check: bool,
    /// Never `GC`.
    pub disable_gc: bool,
    pub plugins: Vec<Plugin>,
    /// As it was read.
    pub(crate) raw: Value,
}

/// One plugin of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// The name of its executable.
    pub kind: String,
    pub(crate) fields: Map<String, Value>,
}

impl Plugin {
    /// Whether the plugin wants to be told of this: port mappings, say.
    pub fn has_capability(&self, name: &str) -> bool {
        self.fields.get("capabilities").and_then(|all| all.get(name)).and_then(Value::as_bool) == Some(true)
    }
}

impl NetworkList {
    pub fn has_capability(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.has_capability(name))
    }

    /// A configuration of one plugin is a list of one.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let raw: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        Self::of(raw)
    }

    /// The same of what was kept.
    pub(crate) fn of(raw: Value) -> Result<Self, String> {
        let fields = raw.as_object().ok_or("it is no object")?;
        let text = |field: &str| fields.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("name").ok_or("name is missing")?.to_owned();
        if !is_plain(&name) {
            return Err(format!("name {name:?} is not letters, digits, '.', '_' and '-', with a letter or digit first"));
        }
        let own = text("cniVersion").ok_or("cniVersion is missing")?;
        let further = fields.get("cniVersions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let parsed = |text: &str| text.parse::<Version>().map_err(|()| format!("cniVersion {text:?} is none"));
        let offered = std::iter::once(own).chain(further).map(parsed).collect::<Result<Vec<_>, _>>()?;
        if !offered.iter().any(|version| version.is_spoken()) {
            return Err(format!("cniVersion {own:?} is not supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are"));
        }
        let plugins = match fields.get("plugins") {
            None => vec![plugin(fields)?],
            Some(Value::Array(plugins)) if !plugins.is_empty() => {
                let all = plugins.iter().map(|fields| plugin(fields.as_object().ok_or("a plugin is no object")?));
                all.collect::<Result<Vec<_>, String>>()?
            }
            Some(_) => return Err("plugins is no list, or an empty one".to_owned()),
        };
        // Some write it as text, which libcni takes.
        let flag = |field: &str| fields.get(field).is_some_and(|value| value == true || value == "true");
        let (disable_check, disable_gc) = (flag("disableCheck"), flag("disableGC"));
        Ok(Self { name, offered, disable_check, disable_gc, plugins, raw })
    }
}

fn plugin(fields: &Map<String, Value>) -> Result<Plugin, String> {
    let kind = fields.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty()).ok_or("a plugin's type is missing")?;
    if kind.contains('/') {
        return Err(format!("a plugin's type {kind:?} is no file name"));
    }
    Ok(Plugin { kind: kind.to_owned(), fields: fields.clone() })
}

/// What may name a network, or a container.
pub(crate) fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// The first configuration of the folder, in the order of names, that can be used; those before it that cannot are logged.
/// `None` where there is no folder, or no file in it.
///
/// # Errors
/// When there are files and none can be used: what is wrong with the first.
pub(crate) fn first(dir: &Path) -> Result<Option<NetworkList>, CniError> {
    let mut wrong = None;
    for path in files(dir)? {
        let text = std::fs::read(&path).map_err(io("read", &path));
        let list =
            text.and_then(|text| NetworkList::parse(&text).map_err(|why| CniError::Configuration { path: path.clone(), why }));
        match list {
            Ok(list) => return Ok(Some(list)),
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    wrong.map_or(Ok(None), Err)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, CniError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io("read", dir))?,
    };
    let paths = entries.map(|entry| Ok(entry.map_err(io("read", dir))?.path()));
    let mut paths = paths.collect::<Result<Vec<_>, CniError>>()?;
    let is_one = |path: &PathBuf| path.extension().is_some_and(|is| EXTENSIONS.iter().any(|extension| is == *extension));
    paths.retain(|path| is_one(path) && path.is_file());
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_its_plugins_in_order_and_a_single_plugin_is_a_list() {
        let list = NetworkList::parse(
            br#"{"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "1.1.0"], "name": "pods", "disableCheck": true, "plugins": [
                {"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap", "capabilities": {"portMappings": true}}]}"#,
        );
        let list = list.expect("is valid");
        assert_eq!(list.plugins.iter().map(|plugin| plugin.kind.as_str()).collect::<Vec<_>>(), ["bridge", "portmap"]);
        assert!(list.disable_check && !list.disable_gc && list.has_capability("portMappings"));
        assert!(!list.has_capability("bandwidth"));
        assert_eq!(list.offered, [Version(1, 0, 0), Version(0, 4, 0), Version(1, 1, 0)]);
        let single = NetworkList::parse(br#"{"cniVersion": "0.4.0", "name": "one", "type": "ptp"}"#).expect("is valid");
        assert_eq!(single.plugins[0].kind, "ptp");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| NetworkList::parse(text.as_bytes()).expect_err("is wrong");
        assert!(wrong("{").contains("EOF"));
        assert_eq!(wrong(r#"{"cniVersion": "1.0.0", "type": "ptp"}"#), "name is missing");
        assert!(wrong(r#"{"cniVersion": "1.0.0", "name": "../a", "type": "ptp"}"#).starts_with("name \"../a\" is not"));
        assert!(wrong(r#"{"cniVersion": "0.1.0", "name": "a", "type": "ptp"}"#).contains("0.1.0"));
        assert_eq!(wrong(r#"{"cniVersion": "1.0.0", "name": "a", "plugins": [{}]}"#), "a plugin's type is missing");
        assert!(wrong(r#"{"cniVersion": "1.0.0", "name": "a", "type": "../../bin/sh"}"#).contains("no file name"));
        assert!(wrong(r#"{"cniVersion": "1.0.0", "name": "a", "plugins": []}"#).contains("empty"));
    }

    #[test]
    fn the_first_file_by_name_that_can_be_used_is_the_nodes() {
        let dir = tempfile::tempdir().expect("makes a folder");
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writes");
        assert_eq!(first(&dir.path().join("nowhere")).expect("is none"), None);
        put("00-notes.txt", "not one");
        assert_eq!(first(dir.path()).expect("is none"), None);
        put("10-broken.conf", "{");
        let error = first(dir.path()).expect_err("is broken").to_string();
        assert!(error.contains("10-broken.conf"), "{error}");
        put("30-last.json", r#"{"cniVersion": "1.0.0", "name": "last", "type": "ptp"}"#);
        put("20-mine.conflist", r#"{"cniVersion": "1.0.0", "name": "mine", "plugins": [{"type": "ptp"}]}"#);
        assert_eq!(first(dir.path()).expect("reads").expect("is there").name, "mine");
    }
}
