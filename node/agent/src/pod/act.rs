//! Turns commands into tasks.

use std::borrow::Cow;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_client::DeleteOptions;
use mizzen_network::NetworkError;
use mizzen_reconcile::typed;

use super::allocation::{self, Record};
use super::containers::containers;
use super::decide::{Command, Why};
use super::labels;
use super::outcome::Outcome;
use super::view::Resize;
use super::worker::Worker;
use crate::error::HookError;
use crate::hooks::{allocate, kind, prepare, processes, pull, resize, start, stop, teardown};
use crate::shared::{Shared, about};
use crate::spec::resources;

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
    match command {
        Command::Prepare { wasm } => Some(preparing(shared, pod, wasm).boxed()),
        Command::Refresh => refreshing(worker, pod),
        Command::Pull { container, .. } => pulling(shared, pod, container),
        Command::Start { container, attempt } => starting(worker, pod, container, attempt),
        Command::Stop { container, id, grace, why } => stopping(worker, &pod, container, id, (grace, why)),
        Command::Allocate => Some(allocating(worker)),
        Command::Resize { container, id, amounts } => resizing(worker, pod, container, id, amounts),
        Command::Remove { id } => removing(worker, id),
        Command::Release => {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            Some(async move { Outcome::Released(teardown::release(&shared, &uid).await) }.boxed())
        }
        Command::Teardown => Some(async move { Outcome::TornDown(teardown::teardown(&shared, &pod).await) }.boxed()),
        Command::Delete => Some(async move { Outcome::Deleted(delete(&shared, &pod).await) }.boxed()),
        Command::Forget => None,
    }
}

fn find(pod: &Pod, name: &str) -> Option<Container> {
    containers(pod).find(|container| container.name == name).map(Cow::into_owned)
}

async fn preparing(shared: Arc<Shared>, pod: Arc<Pod>, wasm: Option<bool>) -> Outcome {
    let wasm = kind::find(&shared, &pod, wasm).await;
    let result = prepare::prepare(&shared, &pod, wasm).await;
    if let (Ok(_), Some(wasm)) = (&result, wasm) {
        kind::remember(&shared, &pod, wasm).await;
    }
    Outcome::Prepared(result)
}

fn refreshing(worker: &Worker, pod: Arc<Pod>) -> Option<BoxFuture<'static, Outcome>> {
    let shared = worker.shared.clone();
    let ready = worker.memory.ready.as_ref()?;
    let (addresses, wasm) = (ready.network.addresses.clone(), ready.wasm == Some(true));
    let refresh = async move {
        let context = shared.context(&pod, &addresses, wasm);
        let result = shared.volumes.setup(&context).await;
        Outcome::Refreshed(result.map(|_| ()).map_err(|(volume, source)| HookError::Volume { volume, source }))
    };
    Some(refresh.boxed())
}

fn pulling(shared: Arc<Shared>, pod: Arc<Pod>, container: String) -> Option<BoxFuture<'static, Outcome>> {
    let spec = find(&pod, &container)?;
    let image = spec.image.clone();
    // It ends, and is noted, also when the pod goes: a pull that is broken off looks like one that a crash ended.
    let pulling = tokio::spawn(async move { pull::pull(&shared, &pod, &spec).await });
    let pull = async move {
        let result = pulling.await.unwrap_or_else(|error| {
            Err(pull::PullError { reason: "ErrImagePull", message: format!("the pull ended early: {error}") })
        });
        Outcome::Pulled { container, image, result }
    };
    Some(pull.boxed())
}

fn starting(worker: &mut Worker, pod: Arc<Pod>, container: String, attempt: u32) -> Option<BoxFuture<'static, Outcome>> {
    let shared = worker.shared.clone();
    let spec = find(&pod, &container)?;
    let image = worker.memory.containers.get(&container)?.image.clone()?;
    let ready = worker.memory.ready.clone()?;
    let target = processes::target(&pod, &container, |name| worker.memory.latest(name));
    worker.memory.containers.get_mut(&container)?.starting = Some(attempt);
    let before = worker.memory.latest(&container).map(|status| labels::get(&status.labels, labels::AMOUNTS));
    let is_resized = before.is_some_and(|before| *before != resources::amounts(&spec));
    let start = async move {
        let bounded = if is_resized { prepare::make_cgroup(&shared, &pod).await } else { Ok(()) };
        let result = match bounded {
            Ok(()) => start::start(&shared, &pod, &spec, attempt, image, &ready, target).await,
            Err(error) => Err(start::explain(&error)),
        };
        Outcome::Started { container, result }
    };
    Some(start.boxed())
}

fn stopping(
    worker: &mut Worker,
    pod: &Pod,
    container: String,
    id: String,
    (grace, why): (i64, Why),
) -> Option<BoxFuture<'static, Outcome>> {
    let shared = worker.shared.clone();
    let status = worker.memory.known.get(&id)?.clone();
    if why == Why::Changed {
        worker.memory.containers.entry(container.clone()).or_default().replaced = Some(id.clone());
    }
    let address = worker.memory.ready.as_ref().and_then(|ready| ready.network.addresses.first().copied());
    let pods_grace = worker.grace();
    let about = about(pod, Some(&container));
    let stopping = stop::Stop { container: find(pod, &container), about, status, address, grace };
    Some(async move { Outcome::Stopped { result: stop::stop(&shared, &stopping, pods_grace).await, id } }.boxed())
}

fn allocating(worker: &mut Worker) -> BoxFuture<'static, Outcome> {
    let shared = worker.shared.clone();
    let (asked, before) = (worker.pod.clone(), worker.memory.granted.clone());
    let wanted = allocation::wanted(&asked);
    let record = Record { granted: wanted.clone(), ..worker.memory.record() };
    let is_wasm = |name: &&String| worker.memory.latest(name).is_some_and(labels::is_wasm);
    let wasm: Vec<String> = wanted.keys().filter(is_wasm).cloned().collect();
    // What is freed from now on is news.
    worker.freed.mark_unchanged();
    let allocate = async move {
        let result = allocate::allocate(&shared, &asked, &before, &wasm, &record).await;
        Outcome::Allocated { wanted, result }
    };
    allocate.boxed()
}

fn resizing(
    worker: &Worker,
    pod: Arc<Pod>,
    container: String,
    id: String,
    amounts: String,
) -> Option<BoxFuture<'static, Outcome>> {
    let shared = worker.shared.clone();
    let spec = find(&pod, &container)?;
    let running = worker.memory.known.get(&id)?.clone();
    let mut record = worker.memory.record();
    record.given.insert(id.clone(), amounts.clone());
    let resize = async move {
        let outcome = resize::resize(&shared, &pod, &spec, &running, &record).await;
        Outcome::Resized { container, resize: Resize { id, amounts, outcome } }
    };
    Some(resize.boxed())
}

fn removing(worker: &mut Worker, id: String) -> Option<BoxFuture<'static, Outcome>> {
    let shared = worker.shared.clone();
    let status = worker.memory.known.get(&id)?.clone();
    if worker.pod.metadata.deletion_timestamp.is_some() {
        worker.is_last_word();
    }
    let remove = async move {
        let result = match shared.runtime(labels::is_wasm(&status)) {
            Some(runtime) => runtime.remove(&id).await.map_err(HookError::from),
            None => Ok(()),
        };
        Outcome::Removed { id, result }
    };
    Some(remove.boxed())
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
