//! `mizzen exec`: a command in a container, with its exit code.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use futures::SinkExt;
use futures::channel::mpsc::Sender;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, TerminalSize};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::failure::{print, unwritten};
use crate::client::pods::{self, default_container, is_over, text};
use crate::client::session::{Connection, Session};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// `web-1`, `pod/web-1`, `deploy/web`, `svc/web`
    pod: String,
    #[arg(short, long)]
    container: Option<String>,
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

pub async fn run(args: Args) -> ExitCode {
    args.connection.run(async |session| args.exec(session).await).await
}

impl Args {
    async fn exec(&self, session: &Session) -> anyhow::Result<ExitCode> {
        let pod = pods::of(session, &self.pod).await?.swap_remove(0);
        let name = text(&pod, "/metadata/name");
        if is_over(&pod) {
            anyhow::bail!("cannot exec into a container in a completed pod; current phase is {}", text(&pod, "/status/phase"));
        }
        let tty = self.tty && self.has_terminal();
        let params = AttachParams {
            container: Some(self.container.clone().unwrap_or_else(|| default_container(&pod))),
            stdin: self.stdin,
            stdout: true,
            stderr: !tty,
            tty,
            ..AttachParams::default()
        };
        let pods: Api<Pod> = Api::namespaced(session.client.clone(), &session.namespace);
        let mut attached = pods.exec(&name, &self.command, &params).await?;
        let raw = tty.then(RawTerminal::enter).flatten();
        if let Some(mut stdin) = attached.stdin() {
            tokio::spawn(async move {
                tokio::io::copy(&mut tokio::io::stdin(), &mut stdin).await?;
                // Not by being dropped: the other half would wait for more.
                stdin.shutdown().await
            });
        }
        if let Some(sizes) = attached.terminal_size() {
            tokio::spawn(tell_sizes(sizes));
        }
        let stdout = attached.stdout();
        let stderr = attached.stderr();
        let status = attached.take_status();
        let err = async {
            match stderr {
                Some(mut stderr) => tokio::io::copy(&mut stderr, &mut tokio::io::stderr()).await.map(|_| ()).map_err(unwritten),
                None => Ok(()),
            }
        };
        tokio::try_join!(copy(stdout), err)?;
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        // What is said now begins at the left.
        drop(raw);
        Ok(exit_code(status.as_ref()))
    }

    fn has_terminal(&self) -> bool {
        let has = !self.stdin || std::io::stdin().is_terminal();
        if !has {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        has
    }
}

async fn copy(stdout: Option<impl AsyncRead + Unpin>) -> anyhow::Result<()> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    let mut buffer = vec![0; 32 * 1024];
    loop {
        match stdout.read(&mut buffer).await? {
            0 => return Ok(()),
            read => print(&buffer[..read])?,
        }
    }
}

/// The size of this terminal, now and whenever it changes.
async fn tell_sizes(mut sizes: Sender<TerminalSize>) -> anyhow::Result<()> {
    let mut changes = signal(SignalKind::window_change())?;
    loop {
        if let Some(size) = terminal_size() {
            sizes.send(size).await?;
        }
        if changes.recv().await.is_none() {
            return Ok(());
        }
    }
}

fn terminal_size() -> Option<TerminalSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is what this request writes; a descriptor that is no terminal is refused.
    let result = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCGWINSZ, &mut size) };
    // Some terminals do not know it themselves.
    (result == 0 && size.ws_col > 0).then_some(TerminalSize { width: size.ws_col, height: size.ws_row })
}

/// The command's own exit code, from the status's `ExitCode` cause.
fn exit_code(status: Option<&Status>) -> ExitCode {
    let Some(status) = status.filter(|status| status.status.as_deref() != Some("Success")) else { return ExitCode::SUCCESS };
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let code: Option<u8> =
        causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode")).find_map(|cause| cause.message.as_ref()?.parse().ok());
    match code {
        Some(code) => {
            eprintln!("command terminated with exit code {code}");
            ExitCode::from(code)
        }
        None => {
            eprintln!("error: {}", status.message.as_deref().unwrap_or("the command failed"));
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
