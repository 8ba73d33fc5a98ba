//! `mizzen server`: the control plane alone.

use std::time::Instant;

use super::serve;
use crate::cluster::{executables, start_code};
use crate::config::Flags;

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let started = Instant::now();
    serve::until_signalled(flags, async move |start, control_plane| {
        start.control_plane(control_plane, None).await?;
        println!(
            "Server is ready after {:.2} s: {} get nodes --kubeconfig {}",
            started.elapsed().as_secs_f64(),
            executables::client(),
            start.config.kubeconfig.display()
        );
        start.end.spawn(start_code::give_back(start.end.cancel.clone()));
        // Until a signal ends it.
        std::future::pending().await
    })
    .await
}
