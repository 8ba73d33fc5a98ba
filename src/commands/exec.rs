//! `mizzen exec`: a command in a container, with its exit code.

use std::process::ExitCode;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::AttachParams;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::AsyncWriteExt as _;

use super::kube_client::Connection;

#[derive(Debug, clap::Args)]
pub struct Args {
    pod: String,
    #[arg(short, long)]
    container: Option<String>,
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// The command, after `--`
    #[arg(last = true, required = true)]
    command: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let pods: Api<Pod> = Api::namespaced(args.connection.client().await?, &args.namespace);
    let params = AttachParams {
        container: args.container,
        stdin: args.stdin,
        stdout: true,
        stderr: !args.tty,
        tty: args.tty,
        ..AttachParams::default()
    };
    let mut session = pods.exec(&args.pod, args.command, &params).await?;
    let _raw = args.tty.then(RawTerminal::enter).flatten();
    if let Some(mut stdin) = session.stdin() {
        tokio::spawn(async move {
            tokio::io::copy(&mut tokio::io::stdin(), &mut stdin).await?;
            // Not by being dropped: the other half would wait for more.
            stdin.shutdown().await
        });
    }
    let stdout = session.stdout();
    let stderr = session.stderr();
    let status = session.take_status();
    let out = async {
        match stdout {
            Some(mut stdout) => tokio::io::copy(&mut stdout, &mut tokio::io::stdout()).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let err = async {
        match stderr {
            Some(mut stderr) => tokio::io::copy(&mut stderr, &mut tokio::io::stderr()).await.map(|_| ()),
            None => Ok(()),
        }
    };
    tokio::try_join!(out, err)?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    Ok(exit_code(status.as_ref()))
}

/// The command's own exit code, from the status's `ExitCode` cause.
fn exit_code(status: Option<&Status>) -> ExitCode {
    let Some(status) = status.filter(|status| status.status.as_deref() != Some("Success")) else { return ExitCode::SUCCESS };
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code: Option<u8> =
        causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode")).find_map(|cause| cause.message.as_ref()?.parse().ok());
    match code {
        Some(code) => ExitCode::from(code),
        None => {
            eprintln!("mizzen: {}", status.message.as_deref().unwrap_or("the command failed"));
            ExitCode::FAILURE
        }
    }
}

/// The terminal passes every key on until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
