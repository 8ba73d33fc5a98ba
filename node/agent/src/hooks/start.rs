//! Starts one attempt of a container.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_images::{Image, ImageKind};
use mizzen_runtime::{ContainerState, ContainerStatus, Exit, RuntimeError};

use super::prepare::{self, Ready};
use super::processes::{self, Joined, Target};
use super::{lifecycle, stop};
use crate::error::HookError;
use crate::pod::containers::lasting;
use crate::shared::{Shared, about};
use crate::spec::build;

/// A container that was started, and what its postStart hook said if it failed.
pub(crate) struct Started {
    pub(crate) status: ContainerStatus,
    pub(crate) hook_failed: Option<String>,
}

/// Why it was not: the container's waiting reason, and a message.
#[derive(Clone, Debug)]
pub(crate) struct StartError {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The program could not be run: an attempt like any other, that ended at once.
    pub(crate) ended: Option<ContainerStatus>,
}

pub(crate) async fn start(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    image: Arc<Image>,
    ready: &Ready,
    target: Target,
) -> Result<Started, StartError> {
    let about = about(pod, Some(&container.name));
    let wasm = matches!(image.kind, ImageKind::Wasm(_));
    let mut labels = None;
    let started = async {
        let processes = if wasm { None } else { processes::namespace(shared, pod, ready, &target).await? };
        let joined = processes.as_ref().map(Joined::path);
        let spec = build::build(shared, pod, container, attempt, &image, ready, joined).await?;
        labels = Some((spec.id.clone(), spec.labels.clone()));
        if ready.wasm == Some(true) && !wasm {
            if lasting(pod).any(|known| known.name == container.name) {
                let why = "the containers before it are Wasm, whose network is shared with other pods: no container joins it";
                return Err(HookError::Config(why.into()));
            }
            // A debug container of a Wasm pod, say.
            prepare::make_cgroup(shared, pod).await?;
        }
        let runtime = shared.runtime(wasm).ok_or_else(|| HookError::Config("this node has no Wasm runtime".into()))?;
        let started = runtime.start(&spec).await;
        drop(processes);
        Ok(started.map_err(|error| error.called(&format!("{:?}", container.name)))?)
    };
    let status = match started.await {
        Ok(status) => status,
        Err(error) => {
            let mut error = explain(&error);
            if error.reason == "StartError" {
                error.ended = labels.map(|(id, labels)| never_ran(id, labels, &error.message, &shared.now().to_string()));
            }
            shared.recorder.warning(&about, "Failed", format!("Error: {}", error.message));
            return Err(error);
        }
    };
    // One step here: a container that could be created and not started was never there.
    shared.recorder.normal(&about, "Created", "Container created");
    shared.recorder.normal(&about, "Started", "Container started");
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    let mut hook_failed = None;
    if let Some(handler) = hook {
        let address = ready.network.addresses.first().copied();
        let ended = async {
            match shared.runtime(wasm) {
                Some(runtime) => drop(stop::exited(runtime, &status.id).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = lifecycle::run(shared, container, &status.id, wasm, address, handler) => if let Err(why) = done {
                shared.recorder.warning(&about, "FailedPostStartHook", "PostStartHook failed");
                hook_failed = Some(why);
            },
            // A hook ends with its container.
            () = ended => {}
        }
    }
    Ok(Started { status, hook_failed })
}

fn never_ran(id: String, labels: BTreeMap<String, String>, message: &str, at: &str) -> ContainerStatus {
    let exit = Exit {
        code: 128,
        signal: None,
        reason: "StartError".into(),
        message: message.to_owned(),
        started_at: at.to_owned(),
        finished_at: at.to_owned(),
    };
    ContainerStatus { id, labels, state: ContainerState::Exited(exit) }
}

/// The waiting reason of a container that could not be started.
pub(crate) fn explain(error: &HookError) -> StartError {
    let reason = match error {
        HookError::Config(_) => "CreateContainerConfigError",
        HookError::Runtime(RuntimeError::Start { reason, .. }) if !reason.is_empty() => reason,
        HookError::Runtime(_) => "RunContainerError",
        _ => "CreateContainerError",
    };
    StartError { reason: reason.to_owned(), message: error.to_string(), ended: None }
}
