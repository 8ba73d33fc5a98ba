//! Puts a [`ContainerSpec`] together.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_images::{Image, ImageKind, User};
use mizzen_runtime::{ContainerSpec, Process, Sandbox};

use super::{env, expand::expand, mounts, resources, security, service_env};
use crate::error::HookError;
use crate::hooks::files;
use crate::hooks::prepare::Ready;
use crate::pod::labels;
use crate::shared::Shared;

/// `pid_namespace` is the process namespace to join, if it is not the container's own.
pub(crate) async fn build(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    attempt: u32,
    image: &Image,
    ready: &Ready,
    pid_namespace: Option<PathBuf>,
) -> Result<ContainerSpec, HookError> {
    let context = shared.context(pod, &ready.network.addresses, ready.wasm == Some(true));
    let services = service_env::variables(&shared.services, pod).await?;
    let mut env = env::environment(shared.client.as_ref(), &context, container, &image.config().env, services).await?;
    let wasm = matches!(image.kind, ImageKind::Wasm(_));
    let mut process = match &image.kind {
        ImageKind::Container(container_image) => {
            security::check_non_root(pod, container, &image.config().user)?;
            let wanted = security::user(pod, container, &image.config().user);
            let layers = container_image.layers.clone();
            let user = tokio::task::spawn_blocking(move || mizzen_images::resolve_user(&layers, &wanted))
                .await
                .map_err(|_| HookError::Worker)?
                .map_err(|error| HookError::Config(error.to_string()))?;
            defaults(&mut env, &files::kernel_hostname(pod, &shared.names.domain)?, &user);
            security::process(pod, container, user, &shared.data_dir.join("seccomp"))?
        }
        ImageKind::Wasm(_) => Process { no_new_privileges: true, ..Process::default() },
    };
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    process.args = args(container, image, wasm, lookup);
    if process.args.is_empty() && !wasm {
        return Err(HookError::Config("no command specified: neither the image nor the container has one".into()));
    }
    process.cwd =
        container.working_dir.clone().filter(|dir| !dir.is_empty()).unwrap_or_else(|| image.config().working_dir.clone());
    process.terminal = container.tty == Some(true);
    process.stdin = container.stdin == Some(true);
    process.stdin_once = container.stdin_once == Some(true);

    let termination = termination_file(shared, pod, container, attempt).await?;
    let mounts = mounts::mounts(shared, pod, container, &ready.mounted, &env, &termination).await?;
    process.env = env;
    let metadata = &pod.metadata;
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let (uid, namespace, name) = (of(&metadata.uid), of(&metadata.namespace), of(&metadata.name));
    let log_dir = shared.log_dir(&namespace, &name, &uid).join(&container.name);
    tokio::fs::create_dir_all(&log_dir).await.map_err(HookError::io("create", &log_dir))?;
    let spec = pod.spec.clone().unwrap_or_default();
    Ok(ContainerSpec {
        id: labels::container_id(&uid, &container.name, attempt),
        labels: container_labels(pod, container, attempt, image, &termination),
        sandbox: Sandbox {
            pod_uid: uid,
            namespace,
            pod: name,
            hostname: files::kernel_hostname(pod, &shared.names.domain)?,
            network_namespace: ready.network.network_namespace.clone(),
            ipc_namespace: ready.network.ipc_namespace.clone(),
            uts_namespace: ready.network.uts_namespace.clone(),
            host_pid: spec.host_pid.unwrap_or(false),
            pid_namespace,
            addresses: ready.network.addresses.clone(),
            cgroup: ready.cgroup.clone(),
            sysctls: spec
                .security_context
                .iter()
                .flat_map(|c| c.sysctls.iter().flatten())
                .map(|s| (s.name.clone(), s.value.clone()))
                .collect(),
        },
        image: match &image.kind {
            ImageKind::Container(image) => mizzen_runtime::Image::Layers(image.layers.clone()),
            ImageKind::Wasm(image) => mizzen_runtime::Image::Wasm { path: image.path.clone(), digest: image.digest.clone() },
        },
        process,
        mounts,
        resources: resources::of_container(container, resources::qos(pod), shared.capacity.memory),
        log_path: log_dir.join(format!("{attempt}.log")),
        log_limits: Some(shared.log_limits),
    })
}

/// `command` replaces the image's entrypoint and its arguments, `args` only the arguments. A Wasm program's own name is
/// the runtime's business.
fn args<'a>(container: &Container, image: &Image, wasm: bool, lookup: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let expanded = |list: &Vec<String>| list.iter().map(|text| expand(text, &lookup)).collect::<Vec<_>>();
    let own_command = container.command.as_ref().filter(|command| !command.is_empty()).map(expanded);
    let own_args = container.args.as_ref().filter(|args| !args.is_empty()).map(expanded);
    let config = image.config();
    let (mut command, args) = match (own_command, own_args) {
        (Some(command), args) => (command, args.unwrap_or_default()),
        (None, Some(args)) => (config.entrypoint.clone(), args),
        (None, None) => (config.entrypoint.clone(), config.cmd.clone()),
    };
    if wasm && !command.is_empty() {
        command.remove(0);
    }
    command.extend(args);
    command
}

/// What every process has, unless image or manifest say otherwise.
fn defaults(env: &mut Vec<(String, String)>, hostname: &str, user: &User) {
    let mut default = |name: &str, value: String| {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value));
        }
    };
    default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    default("HOSTNAME", hostname.to_owned());
    default("HOME", if user.home.is_empty() { "/".into() } else { user.home.clone() });
}

fn container_labels(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    image: &Image,
    termination: &std::path::Path,
) -> BTreeMap<String, String> {
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let wasm = matches!(image.kind, ImageKind::Wasm(_));
    // Where a component that serves HTTP listens is no business of the component's: the pod's first port says it.
    let http_port = container.ports.iter().flatten().next().filter(|_| wasm).map(|port| port.container_port.to_string());
    let own_signal = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.clone());
    [
        (labels::POD_UID, of(&pod.metadata.uid)),
        (labels::POD_NAME, of(&pod.metadata.name)),
        (labels::POD_NAMESPACE, of(&pod.metadata.namespace)),
        (labels::CONTAINER, container.name.clone()),
        (labels::ATTEMPT, attempt.to_string()),
        (labels::IMAGE, image.reference.clone()),
        (labels::ASKED_IMAGE, of(&container.image)),
        (labels::IMAGE_ID, image_id(image)),
        (labels::RUNTIME, if wasm { "wasm" } else { "container" }.to_owned()),
        (labels::AMOUNTS, resources::amounts(container)),
        (labels::TERMINATION_PATH, termination.display().to_string()),
        (labels::STOP_SIGNAL, own_signal.unwrap_or_else(|| image.config().stop_signal.clone())),
    ]
    .into_iter()
    .chain(http_port.map(|port| (mizzen_runtime::wasm::HTTP_PORT, port)))
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// `repository@digest`, as `status.containerStatuses[].imageID` has it.
pub(crate) fn image_id(image: &Image) -> String {
    format!("{}@{}", mizzen_images::repository(&image.reference), image.digest)
}

async fn termination_file(shared: &Shared, pod: &Pod, container: &Container, attempt: u32) -> Result<PathBuf, HookError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let dir = shared.volumes.pod_dir(uid).join("containers").join(&container.name);
    tokio::fs::create_dir_all(&dir).await.map_err(HookError::io("create", &dir))?;
    let path = dir.join(format!("termination-{attempt}"));
    if tokio::fs::metadata(&path).await.is_err() {
        tokio::fs::write(&path, b"").await.map_err(HookError::io("create", &path))?;
    }
    // Whatever user the process is, it may leave a last word.
    let open = std::fs::Permissions::from_mode(0o666);
    tokio::fs::set_permissions(&path, open).await.map_err(HookError::io("set the mode of", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use mizzen_images::{ContainerImage, ImageConfig};

    use super::*;

    fn image(reference: &str, entrypoint: &[&str], cmd: &[&str]) -> Image {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let config = ImageConfig { entrypoint: list(entrypoint), cmd: list(cmd), ..ImageConfig::default() };
        Image {
            reference: reference.into(),
            digest: "sha256:abc".into(),
            id: "sha256:def".into(),
            size: 1,
            kind: ImageKind::Container(ContainerImage { layers: Vec::new(), config }),
        }
    }

    #[test]
    fn command_and_args_override_the_image() {
        let image = image("a", &["entry"], &["cmd"]);
        let container = |command: &[&str], args: &[&str]| Container {
            command: (!command.is_empty()).then(|| command.iter().map(|word| (*word).to_owned()).collect()),
            args: (!args.is_empty()).then(|| args.iter().map(|word| (*word).to_owned()).collect()),
            ..Container::default()
        };
        let of = |command: &[&str], words: &[&str]| {
            args(&container(command, words), &image, false, |name| (name == "X").then_some("1"))
        };
        assert_eq!(of(&[], &[]), ["entry", "cmd"]);
        assert_eq!(of(&[], &["a$(X)"]), ["entry", "a1"]);
        assert_eq!(of(&["c"], &[]), ["c"]);
        assert_eq!(of(&["c"], &["a"]), ["c", "a"]);
    }

    #[test]
    fn an_image_id_is_the_repository_at_its_digest() {
        for (reference, id) in [
            ("docker.io/library/nginx:latest", "docker.io/library/nginx@sha256:abc"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app@sha256:abc"),
            ("127.0.0.1:5000/app:v1@sha256:abc", "127.0.0.1:5000/app@sha256:abc"),
        ] {
            assert_eq!(image_id(&image(reference, &[], &[])), id);
        }
    }
}
