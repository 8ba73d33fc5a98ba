//! Turns commands into tasks.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_client::DeleteOptions;
use mizzen_network::NetworkError;
use mizzen_reconcile::typed;
use mizzen_runtime::{ContainerState, ContainerStatus};
use nix::fcntl::OFlag;

use super::allocation::{self, Record};
use super::containers::containers;
use super::decide::{Command, Why};
use super::labels;
use super::outcome::Outcome;
use super::view::Resize;
use super::worker::Worker;
use crate::error::HookError;
use crate::hooks::{allocate, kind, prepare, processes, pull, resize, start, stop, teardown};
use crate::logs;
use crate::shared::{Shared, about};
use crate::spec::resources;

/// What of a termination message is kept, as the kubelet does.
const MESSAGE: u64 = 4096;
const MESSAGE_FROM_LOG: usize = 2048;

/// Commands with the same key are not under way at the same time.
pub(super) fn key(command: &Command) -> String {
    match command {
        Command::Prepare { .. } | Command::Refresh => "prepare".to_owned(),
        // Containers of one pod never pull the same image at the same time: whoever comes second finds it.
        Command::Pull { image, .. } => format!("pull {image}"),
        Command::Start { container, .. } => format!("start {container}"),
        Command::Stop { id, .. } => format!("stop {id}"),
        Command::Allocate => "allocate".to_owned(),
        // Each bounds the pod as a whole, too.
        Command::Resize { .. } => "resize".to_owned(),
        Command::Remove { id } => format!("remove {id}"),
        Command::Release => "release".to_owned(),
        Command::Teardown => "teardown".to_owned(),
        Command::Delete => "delete".to_owned(),
        Command::Forget => "forget".to_owned(),
    }
}

/// The work of a command; `None` when what it needs is not there any more.
pub(super) fn task(worker: &mut Worker, command: Command) -> Option<BoxFuture<'static, Outcome>> {
    let (shared, pod) = (worker.shared.clone(), worker.granted());
    let find =
        |name: &str| -> Option<Container> { containers(&pod).find(|container| container.name == name).map(Cow::into_owned) };
    Some(match command {
        Command::Prepare { wasm } => async move {
            let wasm = kind::find(&shared, &pod, wasm).await;
            let result = prepare::prepare(&shared, &pod, wasm).await;
            if let (Ok(_), Some(wasm)) = (&result, wasm) {
                kind::remember(&shared, &pod, wasm).await;
            }
            Outcome::Prepared(result)
        }
        .boxed(),
        Command::Refresh => {
            let ready = worker.memory.ready.as_ref()?;
            let (addresses, wasm) = (ready.network.addresses.clone(), ready.wasm == Some(true));
            async move {
                let context = shared.context(&pod, &addresses, wasm);
                let result = shared.volumes.setup(&context).await;
                Outcome::Refreshed(result.map(|_| ()).map_err(|(volume, source)| HookError::Volume { volume, source }))
            }
            .boxed()
        }
        Command::Pull { container, .. } => {
            let spec = find(&container)?;
            let image = spec.image.clone();
            // It ends, and is noted, also when the pod goes: a pull that is broken off looks like one that a crash ended.
            let pulling = tokio::spawn(async move { pull::pull(&shared, &pod, &spec).await });
            async move {
                let result = pulling.await.unwrap_or_else(|error| {
                    Err(pull::PullError { reason: "ErrImagePull", message: format!("the pull ended early: {error}") })
                });
                Outcome::Pulled { container, image, result }
            }
            .boxed()
        }
        Command::Start { container, attempt } => {
            let spec = find(&container)?;
            let image = worker.memory.containers.get(&container)?.image.clone()?;
            let ready = worker.memory.ready.clone()?;
            let target = processes::target(&pod, &container, |name| worker.memory.latest(name));
            worker.memory.containers.get_mut(&container)?.starting = Some(attempt);
            let before = worker.memory.latest(&container).map(|status| labels::get(&status.labels, labels::AMOUNTS));
            let is_resized = before.is_some_and(|before| *before != resources::amounts(&spec));
            async move {
                let bounded = if is_resized { prepare::make_cgroup(&shared, &pod).await } else { Ok(()) };
                let result = match bounded {
                    Ok(()) => start::start(&shared, &pod, &spec, attempt, image, &ready, target).await,
                    Err(error) => Err(start::explain(&error)),
                };
                Outcome::Started { container, result }
            }
            .boxed()
        }
        Command::Stop { container, id, grace, why } => {
            let status = worker.memory.known.get(&id)?.clone();
            if why == Why::Changed {
                worker.memory.containers.entry(container.clone()).or_default().replaced = Some(id.clone());
            }
            let address = worker.memory.ready.as_ref().and_then(|ready| ready.network.addresses.first().copied());
            let pods_grace = worker.grace();
            let stopping =
                stop::Stop { container: find(&container), about: about(&pod, Some(&container)), status, address, grace };
            async move { Outcome::Stopped { result: stop::stop(&shared, &stopping, pods_grace).await, id } }.boxed()
        }
        Command::Allocate => {
            let (asked, before) = (worker.pod.clone(), worker.memory.granted.clone());
            let wanted = allocation::wanted(&asked);
            let record = Record { granted: wanted.clone(), ..worker.memory.record() };
            let is_wasm = |name: &&String| worker.memory.latest(name).is_some_and(labels::is_wasm);
            let wasm: Vec<String> = wanted.keys().filter(is_wasm).cloned().collect();
            // What is freed from now on is news.
            worker.freed.mark_unchanged();
            async move {
                let result = allocate::allocate(&shared, &asked, &before, &wasm, &record).await;
                Outcome::Allocated { wanted, result }
            }
            .boxed()
        }
        Command::Resize { container, id, amounts } => {
            let spec = find(&container)?;
            let running = worker.memory.known.get(&id)?.clone();
            let mut record = worker.memory.record();
            record.given.insert(id.clone(), amounts.clone());
            async move {
                let outcome = resize::resize(&shared, &pod, &spec, &running, &record).await;
                Outcome::Resized { container, resize: Resize { id, amounts, outcome } }
            }
            .boxed()
        }
        Command::Remove { id } => {
            let status = worker.memory.known.get(&id)?.clone();
            if worker.pod.metadata.deletion_timestamp.is_some() {
                worker.is_last_word();
            }
            async move {
                let result = match shared.runtime(labels::is_wasm(&status)) {
                    Some(runtime) => runtime.remove(&id).await.map_err(HookError::from),
                    None => Ok(()),
                };
                Outcome::Removed { id, result }
            }
            .boxed()
        }
        Command::Release => {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            async move { Outcome::Released(teardown::release(&shared, &uid).await) }.boxed()
        }
        Command::Teardown => async move { Outcome::TornDown(teardown::teardown(&shared, &pod).await) }.boxed(),
        Command::Delete => async move { Outcome::Deleted(delete(&shared, &pod).await) }.boxed(),
        Command::Forget => return None,
    })
}

async fn delete(shared: &Shared, pod: &Pod) -> Result<(), HookError> {
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let (namespace, name) = (of(&pod.metadata.namespace), of(&pod.metadata.name));
    let options = DeleteOptions { grace_period_seconds: Some(0), uid: pod.metadata.uid.clone(), ..DeleteOptions::default() };
    typed::delete::<Pod>(shared.client.as_ref(), &namespace, &name, options).await?;
    Ok(())
}

pub(super) fn tell_prepare_failed(shared: &Shared, pod: &Pod, error: &HookError) {
    let (reason, message) = match error {
        HookError::Volume { .. } => ("FailedMount", error.to_string()),
        HookError::Network(NetworkError::PluginsNotReady { .. }) => ("NetworkNotReady", error.to_string()),
        _ => ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}")),
    };
    shared.recorder.warning(&about(pod, None), reason, message);
}

/// Fills in the message that a container that ended left behind.
pub(super) async fn read_last_words(shared: &Shared, pod: &Pod, status: &mut ContainerStatus) {
    let name = labels::get(&status.labels, labels::CONTAINER).to_owned();
    let path = labels::get(&status.labels, labels::TERMINATION_PATH).to_owned();
    let attempt = labels::attempt(status);
    let ContainerState::Exited(exit) = &mut status.state else { return };
    if !exit.message.is_empty() {
        return;
    }
    if !path.is_empty() {
        let read = tokio::task::spawn_blocking(move || read_message(Path::new(&path))).await;
        exit.message = read.ok().and_then(Result::ok).unwrap_or_default();
    }
    let container = containers(pod).find(|container| container.name == name);
    let policy = container.as_ref().and_then(|container| container.termination_message_policy.as_deref());
    if exit.message.is_empty() && exit.code != 0 && policy == Some("FallbackToLogsOnError") {
        let of = |field: &Option<String>| field.clone().unwrap_or_default();
        let metadata = &pod.metadata;
        let dir = shared.log_dir(&of(&metadata.namespace), &of(&metadata.name), &of(&metadata.uid)).join(&name);
        exit.message = logs::tail_text(&dir.join(format!("{attempt}.log")), 80, MESSAGE_FROM_LOG).await;
    }
}

/// The end of the file, as the kubelet has it. Its size and content are the container's to choose: no more than the limit is
/// read, and no link is followed.
fn read_message(path: &Path) -> std::io::Result<String> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(end.saturating_sub(MESSAGE)))?;
    let mut bytes = Vec::new();
    file.take(MESSAGE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_termination_message_is_cut_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("makes a folder");
        let (file, link) = (dir.path().join("message"), dir.path().join("link"));
        std::fs::write(&file, format!("{}{}", "x".repeat(10_000), "y".repeat(4096))).expect("writes");
        assert_eq!(read_message(&file).expect("reads"), "y".repeat(4096));
        std::os::unix::fs::symlink(&file, &link).expect("links");
        assert!(read_message(&link).is_err());
    }
}
