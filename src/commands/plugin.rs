//! `mizzen plugin`: what the author of a scheduler plugin or an admission policy needs; no cluster is asked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use mizzen_plugins_host::Artifact;
use mizzen_plugins_toolkit as toolkit;
use toolkit::{Kind, Language, Project};

use super::login::Login;

mod registry;
mod signing;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where compiled plugins are kept, by digest [default: mizzen/plugins in the user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "MIZZEN_PLUGIN_CACHE")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Begin a project
    New {
        #[arg(long)]
        kind: KindArg,
        #[arg(long)]
        lang: Lang,
        name: String,
    },
    /// Build a project: NAME.wasm, a component
    Build {
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// Ask a plugin the questions of a table and compare its answers
    Test(Ask),
    /// Say what a component is: its world, imports and needs
    Inspect {
        /// A component, a project's folder, or a reference in a registry
        #[arg(default_value = ".")]
        plugin: String,
        /// JSON, for plugins that do not start without
        #[arg(long, default_value = "{}")]
        settings: String,
        #[command(flatten)]
        login: Login,
    },
    /// Measure how fast a plugin answers the questions of a table
    Bench {
        #[command(flatten)]
        ask: Ask,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Nodes of the cluster that a scheduler plugin is told of, at least
        #[arg(long, default_value_t = 1000)]
        nodes: usize,
    },
    /// Send a plugin to a registry
    Push(registry::Push),
    /// Make a key pair to sign plugins with: NAME.key, which is not encrypted, and NAME.pub for the cluster's configuration
    Keygen {
        #[arg(default_value = "mizzen-plugins")]
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Ask {
    /// A component, or a project's folder
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// Questions and answers [default: tests.yaml beside the plugin]
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    Scheduler,
    Policy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lang {
    Rust,
    #[value(alias = "javascript")]
    Js,
    Python,
    Go,
    C,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let cache = args.cache.or_else(cache);
    match args.command {
        Command::New { kind, lang, name } => {
            let folder = Path::new(&name);
            let project = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            toolkit::new(folder, project, kind.into(), lang.into())?;
            println!("{name}/ is ready: cd {name} && mizzen plugin build && mizzen plugin test");
        }
        Command::Build { project } => println!("{}", Project::open(&project)?.build()?.display()),
        Command::Test(ask) => return test(&ask, cache).await,
        Command::Inspect { plugin, settings, login } => {
            serde_json::from_str::<serde::de::IgnoredAny>(&settings).context("--settings is no JSON")?;
            let artifact = match local(&plugin)? {
                Some(path) => toolkit::inspect::load(&component(path)?, cache).await?,
                None => {
                    let (artifact, manifest) = registry::pull(&plugin, &login, cache).await?;
                    println!("manifest   {manifest}");
                    artifact
                }
            };
            print!("{}", toolkit::inspect::report(&artifact, &settings));
        }
        Command::Bench { ask, seconds, nodes } => {
            let (artifact, table) = ask.load(cache).await?;
            print!("{}", toolkit::bench::run(&artifact, &table, Duration::from_secs(seconds), nodes)?);
        }
        Command::Push(push) => println!("{}", push.run(cache).await?),
        Command::Keygen { name } => signing::generate(&name)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(ask: &Ask, cache: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let (artifact, table) = ask.load(cache).await?;
    let outcomes = toolkit::cases::run(&artifact, &table)?;
    let mut failed = 0;
    for outcome in &outcomes {
        let mark = if outcome.failure.is_some() { "FAIL" } else { "ok" };
        println!("{mark:<4}  {}  ({:.1?})", outcome.name, outcome.took);
        if let Some(failure) = &outcome.failure {
            println!("      {failure}");
            failed += 1;
        }
    }
    println!("\n{} passed, {failed} failed", outcomes.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Ask {
    async fn load(&self, cache: Option<PathBuf>) -> anyhow::Result<(Arc<Artifact>, PathBuf)> {
        let component = component(&self.plugin)?;
        let table = self.table.clone().unwrap_or_else(|| component.with_file_name("tests.yaml"));
        Ok((toolkit::inspect::load(&component, cache).await?, table))
    }
}

/// The component that a path means: itself, or a project's.
fn component(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let component = Project::open(path)?.component();
    anyhow::ensure!(component.is_file(), "{} is not there yet: run `mizzen plugin build`", component.display());
    Ok(component)
}

/// What is on this machine; none where it can only be a reference.
fn local(plugin: &str) -> anyhow::Result<Option<&Path>> {
    let path = Path::new(plugin);
    let meant = plugin.starts_with(['.', '/']) || path.extension().is_some_and(|extension| extension == "wasm");
    anyhow::ensure!(!meant || path.exists(), "{plugin} is not there");
    Ok(path.exists().then_some(path))
}

fn cache() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    Some(base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?.join("mizzen/plugins"))
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Scheduler => Self::Scheduler,
            KindArg::Policy => Self::Policy,
        }
    }
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Rust => Self::Rust,
            Lang::Js => Self::JavaScript,
            Lang::Python => Self::Python,
            Lang::Go => Self::Go,
            Lang::C => Self::C,
        }
    }
}
