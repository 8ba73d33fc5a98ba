//! Taking the place of a process that runs a cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::data_dir::{DataDir, DataDirError, Lock};

/// How long a running `mizzen up` gets to end.
const STOP: Duration = Duration::from_secs(30);

impl DataDir {
    /// Ends a running `mizzen up`, or agent, and takes its place.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn take_over(&self) -> anyhow::Result<Lock> {
        let deadline = Instant::now() + STOP;
        let mut told = false;
        loop {
            match self.lock() {
                Ok(lock) => return Ok(lock),
                Err(DataDirError::Busy { pid, .. }) if Instant::now() < deadline => {
                    if let (false, Ok(pid)) = (told, pid.parse()) {
                        kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("end process {pid}"))?;
                        told = true;
                    }
                    // Nobody tells when a lock becomes free without blocking on it.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(DataDirError::Busy { pid, .. }) => bail!("process {pid} still runs the cluster after {STOP:?}"),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
