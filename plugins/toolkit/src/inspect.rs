//! What a component is: its world and version, what it imports, and what must be granted to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mizzen_plugins_host::policy::PolicyPlugin;
use mizzen_plugins_host::scheduler::{Description, Points};
use mizzen_plugins_host::{Artifact, ExecutionMode, Host, HostOptions, Metadata, Minor, PluginOptions, SchedulerPlugin, World};

use crate::error::{ToolkitError, io};
use crate::log::Stderr;

/// Compiles a component as the server does, or finds what was compiled before.
///
/// # Errors
/// When the file cannot be read, or is no plugin.
pub async fn load(path: &Path, cache: Option<PathBuf>) -> Result<Arc<Artifact>, ToolkitError> {
    let bytes = std::fs::read(path).map_err(io("read", path))?;
    compile(&path.display().to_string(), bytes, cache).await
}

/// The same with bytes from elsewhere; `name` is what an error calls them.
///
/// # Errors
/// When they are no plugin.
pub async fn compile(name: &str, bytes: Vec<u8>, cache: Option<PathBuf>) -> Result<Arc<Artifact>, ToolkitError> {
    let host = Host::new(HostOptions { cache, ..HostOptions::default() });
    host.load(bytes.into()).await.map_err(|source| ToolkitError::Load { name: name.to_owned(), source })
}

/// What there is to say of a component, line by line.
pub struct Report {
    lines: Vec<(&'static str, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, value)| writeln!(f, "{name:<10} {value}"))
    }
}

/// Looks at a component, and starts it with these settings (JSON) to hear what it says of itself.
pub fn report(artifact: &Artifact, settings: &str) -> Report {
    let mut lines = vec![("digest", artifact.digest().to_owned())];
    let version = artifact.version();
    let world = match (artifact.kubewarden(), version) {
        (Some(metadata), _) => kubewarden(metadata),
        (None, "") => artifact.world().name().to_owned(),
        (None, version) => match artifact.minor() {
            Minor::Current => format!("{} {version}", artifact.world().name()),
            Minor::Previous => format!("{} {version} (the minor version before the current one)", artifact.world().name()),
        },
    };
    lines.push(("world", world));
    if let Some(title) = artifact.kubewarden().and_then(title) {
        lines.push(("title", title));
    }
    lines.push(("code", format!("{} kB compiled", artifact.code_size() / 1000)));
    lines.push(("imports", list(artifact.imports().iter().map(String::as_str))));
    lines.push(("to grant", list(artifact.needs())));
    let options = PluginOptions { settings: settings.to_owned(), log: Arc::new(Stderr), ..PluginOptions::new("plugin") };
    match artifact.world() {
        World::Policy | World::Kubewarden => match PolicyPlugin::load(artifact, options) {
            Ok(policy) => {
                let said = policy.description();
                lines.push(("mutating", if said.mutating { "yes" } else { "no" }.to_owned()));
                let needs = said.needs.iter().map(|need| format!("{} {}", need.api_version, need.kind)).collect::<Vec<_>>();
                lines.push(("needs", list(needs.iter().map(String::as_str))));
            }
            Err(error) => lines.push(("load", error.to_string())),
        },
        World::Scheduler => match SchedulerPlugin::load(artifact, options) {
            Ok(plugin) => {
                let Description { points, columns, .. } = plugin.description();
                lines.push(("points", list(names(*points).into_iter())));
                lines.push(("columns", list(columns.iter().map(String::as_str))));
            }
            Err(error) => lines.push(("load", error.to_string())),
        },
        World::Module => {}
    }
    Report { lines }
}

fn kubewarden(metadata: &Metadata) -> String {
    let mode = match metadata.execution_mode {
        ExecutionMode::KubewardenWapc => "waPC".to_owned(),
        mode => mode.to_string(),
    };
    match &metadata.protocol_version {
        Some(version) => format!("{} ({mode}, protocol {version})", World::Kubewarden.name()),
        None => format!("{} ({mode})", World::Kubewarden.name()),
    }
}

fn title(metadata: &Metadata) -> Option<String> {
    let annotation = |name: &str| metadata.annotations.get(&format!("io.kubewarden.policy.{name}")).map(|text| text.trim());
    let title = annotation("title")?;
    Some(annotation("version").map_or_else(|| title.to_owned(), |version| format!("{title} {version}")))
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<&str> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.join("\n           ") }
}

fn names(points: Points) -> Vec<&'static str> {
    let all = [
        (Points::FILTER, "filter"),
        (Points::POST_FILTER, "post-filter"),
        (Points::PRE_SCORE, "pre-score"),
        (Points::SCORE, "score"),
        (Points::RESERVE, "reserve"),
        (Points::UNRESERVE, "unreserve"),
        (Points::PERMIT, "permit"),
        (Points::PRE_BIND, "pre-bind"),
    ];
    all.into_iter().filter_map(|(point, name)| points.contains(point).then_some(name)).collect()
}
