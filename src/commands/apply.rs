//! `mizzen apply`: server-side apply of YAML files.

use std::process::ExitCode;

use anyhow::{Context, bail};
use http::Method;

use crate::client::failure::{self, print};
use crate::client::manifests::{Files, Manifest};
use crate::client::resources::Catalogue;
use crate::client::session::{Connection, Session, with_query};
use crate::client::targets::Target;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// Take over fields that others manage
    #[arg(long)]
    force_conflicts: bool,
    /// `server`: let the server say what would happen, and change nothing
    #[arg(long, value_parser = ["none", "server"], default_value = "none")]
    dry_run: String,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> ExitCode {
    args.connection.run(async |session| args.apply_all(session).await).await
}

impl Args {
    async fn apply_all(&self, session: &Session) -> anyhow::Result<ExitCode> {
        if !self.files.are_given() {
            bail!("must specify -f FILE");
        }
        let manifests = self.files.read()?;
        if manifests.is_empty() {
            bail!("no objects passed to apply");
        }
        let mut catalogue = Catalogue::discover(&session.client).await?;
        let mut code = ExitCode::SUCCESS;
        for manifest in &manifests {
            // What one object is refused for is no reason to leave out the others.
            match self.apply(session, &mut catalogue, manifest).await {
                Ok(said) => print(said)?,
                Err(error) => code = failure::say(&error, &session.server),
            }
        }
        Ok(code)
    }

    async fn apply(&self, session: &Session, catalogue: &mut Catalogue, manifest: &Manifest) -> anyhow::Result<String> {
        let (api_version, kind, name) = manifest.identify()?;
        if catalogue.of_kind(api_version, kind).is_none() {
            // The definition of the kind may have come a moment ago.
            *catalogue = Catalogue::discover(&session.client).await?;
        }
        let target = Target::of(manifest, catalogue)?;
        if let Some(own) = target.namespace.as_deref().filter(|own| session.told_namespace && **own != session.namespace) {
            bail!(
                "the namespace from the provided object {own:?} does not match the namespace {:?}. You must pass '--namespace={own}' to perform this operation.",
                session.namespace
            );
        }
        let dry = self.dry_run == "server";
        let force = self.force_conflicts.to_string();
        let query = [
            ("fieldManager", "mizzen"),
            ("fieldValidation", "Strict"),
            ("force", force.as_str()),
            ("dryRun", if dry { "All" } else { "" }),
        ];
        let path = with_query(&target.path(session, false), &query);
        session
            .put(Method::PATCH, &path, "application/apply-patch+yaml", &manifest.object)
            .await
            .with_context(|| format!("error when applying {:?}", manifest.from))
            .map_err(|error| match failure::refused(&error) {
                Some(status) if status.reason == "Conflict" => error.context("(--force-conflicts takes the fields over)"),
                _ => error,
            })?;
        Ok(format!("{}/{name} serverside-applied{}\n", target.resource.one(), if dry { " (server dry run)" } else { "" }))
    }
}
