//! Starting a shim.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mizzen_shim_protocol::StartReply;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::directory::Directory;

/// Longer than the shim's own limit for a start.
const LIMIT: Duration = Duration::from_secs(70);

/// Starts a shim in a prepared directory and waits for what became of its container. The lock passes to the shim.
pub(super) async fn launch(shim: &Path, directory: &Directory, lock: File) -> io::Result<StartReply> {
    let log = File::create(directory.path().join("shim.log"))?;
    let mut child = Command::new(shim)
        .arg("run")
        .arg(directory.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log))
        .spawn()?;
    let mut answer = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        match tokio::time::timeout(LIMIT, stdout.read_to_end(&mut answer)).await {
            Ok(read) => drop(read?),
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the shim does not answer")),
        }
    }
    // It goes on in a child of its own; this one has only to be reaped.
    child.wait().await?;
    serde_json::from_slice(&answer)
        .map_err(|_| io::Error::other(format!("the shim ended without an answer: {}", directory.complaints())))
}
