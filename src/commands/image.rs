//! `mizzen image`: what the node holds, and OCI layout folders to and from registries.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mizzen_images::{Image, ImageConfig, ImageKind, ImageStore, Progress, layout};
use parking_lot::Mutex;

use super::login::{self, Login};
use crate::cluster::data_dir::DataDir;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, global = true, value_name = "DIR", default_value = crate::config::DEFAULT_DATA_DIR, env = "MIZZEN_DATA_DIR")]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the node's images, and how many containers are of each
    Ls,
    /// Fetch an image from its registry
    Pull {
        reference: String,
        #[command(flatten)]
        login: Login,
    },
    /// Take in the images of an OCI layout folder
    Import {
        layout: PathBuf,
        /// Name for the layout's only image
        reference: Option<String>,
    },
    /// Send an OCI layout folder's image, or one of the node's, to a registry
    Push {
        /// Layout folder, or reference of an image of the node
        source: String,
        target: String,
        #[command(flatten)]
        login: Login,
    },
    /// Make an OCI layout folder from a root directory or a Wasm module
    Build(Build),
}

#[derive(Debug, clap::Args)]
struct Build {
    layout: PathBuf,
    /// Directories that become layers, the lowest first
    #[arg(long, conflicts_with = "wasm", required_unless_present = "wasm")]
    root: Vec<PathBuf>,
    /// A Wasm component or module
    #[arg(long)]
    wasm: Option<PathBuf>,
    /// The entrypoint is a Wasm file of the directories: an image for wasi/wasm
    #[arg(long, conflicts_with = "wasm", requires = "entrypoint")]
    wasi: bool,
    #[arg(long)]
    reference: Option<String>,
    #[arg(long)]
    entrypoint: Vec<String>,
    #[arg(long)]
    cmd: Vec<String>,
    /// NAME=value
    #[arg(long)]
    env: Vec<String>,
    #[arg(long, default_value = "")]
    working_dir: String,
    #[arg(long, default_value = "")]
    user: String,
    /// What ends it with grace, such as SIGQUIT; SIGTERM unless given
    #[arg(long, default_value = "")]
    stop_signal: String,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    if let Command::Build(build) = args.command {
        println!("{}", build.run()?);
        return Ok(());
    }
    if let Command::Push { source, target, login } = &args.command
        && let folder = Path::new(source)
        && folder.join("index.json").is_file()
    {
        let pushed = mizzen_images::push_layout(folder, target, &login.credentials(), Some(Bars::shared())).await;
        println!("{}", pushed.map_err(login::explained)?);
        return Ok(());
    }
    let data = DataDir::create(&args.data_dir)?;
    let store = ImageStore::open(data.images())?;
    match args.command {
        Command::Ls => {
            let containers = used(&data);
            for image in store.list() {
                let used = containers.iter().filter(|digest| **digest == image.digest).count();
                let used = match used {
                    0 => "unused".to_owned(),
                    1 => "1 container".to_owned(),
                    many => format!("{many} containers"),
                };
                println!("{}  {used}", line(&image));
            }
        }
        Command::Pull { reference, login } => {
            let pulled = store.pull(&reference, &login.credentials(), Some(Bars::shared())).await;
            let image = pulled.map_err(login::explained)?;
            println!("{}", line(&image));
        }
        Command::Import { layout, reference } => {
            store.import(&layout, reference.as_deref()).await?.iter().for_each(|image| println!("{}", line(image)));
        }
        Command::Push { source, target, login } => {
            let pushed = store.push(&source, &target, &login.credentials(), Some(Bars::shared())).await;
            println!("{}", pushed.map_err(login::explained)?);
        }
        Command::Build(_) => {}
    }
    Ok(())
}

impl Build {
    fn run(self) -> anyhow::Result<String> {
        let config = ImageConfig {
            entrypoint: self.entrypoint,
            cmd: self.cmd,
            env: self.env,
            working_dir: self.working_dir,
            user: self.user,
            stop_signal: self.stop_signal,
            ..ImageConfig::default()
        };
        Ok(match self.wasm {
            Some(wasm) => layout::build_wasm(&self.layout, self.reference.as_deref(), &wasm)?,
            None => {
                let roots: Vec<&Path> = self.root.iter().map(PathBuf::as_path).collect();
                let build = if self.wasi { layout::build_wasi_container } else { layout::build_container };
                build(&self.layout, self.reference.as_deref(), &roots, &config)?
            }
        })
    }
}

/// The digest of the image of every container of the node, whether a cluster runs or not.
fn used(data: &DataDir) -> Vec<String> {
    let labels = [data.containers(), data.wasm()].into_iter().flat_map(|root| mizzen_runtime::labels_below(&root));
    labels.filter_map(|labels| Some(labels.get(mizzen_agent::IMAGE_ID_LABEL)?.rsplit_once('@')?.1.to_owned())).collect()
}

fn line(image: &Image) -> String {
    let kind = match image.kind {
        ImageKind::Container(_) => "container",
        ImageKind::Wasm(_) => "wasm",
    };
    let id = image.id.trim_start_matches("sha256:").get(..12).unwrap_or(&image.id);
    format!("{:<60} {id}  {kind:<9}  {:.1} MB", image.reference, image.size as f64 / 1e6)
}

/// One bar for each blob on its way.
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    fn shared() -> Arc<dyn Progress> {
        Arc::new(Self { all: MultiProgress::new(), bars: Mutex::default() })
    }

    fn bar(&self, digest: &str) -> ProgressBar {
        let mut bars = self.bars.lock();
        let bar = bars.entry(digest.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {bytes:>10}/{total_bytes:10} {msg}");
            let bar = self
                .all
                .add(ProgressBar::new(0))
                .with_prefix(digest.trim_start_matches("sha256:").chars().take(12).collect::<String>());
            // The template is a constant; the plain bar stands in should it ever not parse.
            style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
        });
        bar.clone()
    }
}

impl Progress for Bars {
    fn transferred(&self, digest: &str, bytes: u64, total: Option<u64>) {
        let bar = self.bar(digest);
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(bytes);
    }

    fn exists(&self, digest: &str) {
        self.bar(digest).finish_with_message("already there");
    }

    fn unpacking(&self, digest: &str, done: bool) {
        let bar = self.bar(digest);
        if done { bar.finish_with_message("done") } else { bar.set_message("unpacking") }
    }
}
