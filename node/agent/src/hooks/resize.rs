//! Gives a container that runs other amounts of CPU and memory: its cgroup and the pod's are bounded anew.

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_runtime::{ContainerStatus, Resources};

use crate::cgroups::{self, CgroupError};
use crate::error::HookError;
use crate::pod::allocation::{self, Record};
use crate::pod::labels;
use crate::pod::view::Resized;
use crate::shared::Shared;
use crate::spec::resources;

/// Pod and container as they are to be; `record` is what is written down when it is done.
pub(crate) async fn resize(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    running: &ContainerStatus,
    record: &Record,
) -> Resized {
    let qos = resources::qos(pod);
    let path = cgroups::pod_path(&shared.cluster, qos, labels::pod_uid(running));
    let (whole, own) = (resources::of_pod(pod), resources::of_container(container, qos, shared.capacity.memory));
    let (id, name) = (running.id.clone(), container.name.clone());
    let bounded = tokio::task::spawn_blocking(move || {
        let own_path = format!("{path}/{id}");
        let used = [cgroups::memory_usage(&path), cgroups::memory_usage(&own_path)];
        match too_low(&name, [whole.memory_limit, own.memory_limit], used) {
            Some(why) => Err(why),
            None => bound(&path, &whole, &own_path, &own).map_err(|error| error.to_string()),
        }
    });
    let written = match bounded.await {
        Ok(Ok(())) => allocation::write(shared, pod, record).await,
        Ok(Err(why)) => return Resized::Failed(why),
        Err(_) => Err(HookError::Worker),
    };
    match written {
        Ok(()) => Resized::Done,
        Err(error) => Resized::Failed(error.to_string()),
    }
}

/// A cgroup has no more than the one around it: to grow, the pod's goes first; to shrink, the container's.
fn bound(pod: &str, whole: &Resources, container: &str, own: &Resources) -> Result<(), CgroupError> {
    let grown = cgroups::ensure(pod, whole);
    cgroups::ensure(container, own)?;
    grown.or_else(|_| cgroups::ensure(pod, whole))
}

/// The kernel kills under a limit on memory that is below what is used (or refuses it, with v1 hierarchies): no such limit is
/// set. Of the pod and of the container, in bytes.
fn too_low(container: &str, limits: [Option<i64>; 2], used: [Option<u64>; 2]) -> Option<String> {
    let [of_pod, of_container] = [0, 1].map(|index| {
        let (limit, used) = (limits[index]?, used[index]?);
        u64::try_from(limit).is_ok_and(|limit| limit < used).then_some((limit, used))
    });
    let pod = of_pod.map(|(limit, used)| format!("attempting to set pod memory limit ({limit}) below current usage ({used})"));
    let own = of_container.map(|(limit, used)| {
        format!("attempting to set container {container:?} memory limit ({limit}) below current usage ({used})")
    });
    let why = match (pod, own) {
        (None, None) => return None,
        (Some(pod), Some(own)) => format!("[{pod}, {own}]"),
        (Some(why), None) | (None, Some(why)) => why,
    };
    Some(format!("cannot decrease memory limits: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_memory_below_what_is_used_is_not_set() {
        let told = |limit: Option<i64>, used: u64| too_low("web", [limit, limit], [Some(used), Some(used)]);
        assert_eq!(told(Some(100), 100), None);
        assert_eq!(told(None, 100), None);
        assert_eq!(too_low("web", [Some(1), Some(1)], [None, None]), None, "what cannot be read is the kernel's to judge");
        let both = "cannot decrease memory limits: [attempting to set pod memory limit (100) below current usage (101), \
            attempting to set container \"web\" memory limit (100) below current usage (101)]";
        assert_eq!(told(Some(100), 101).as_deref(), Some(both));
        let pod = "cannot decrease memory limits: attempting to set pod memory limit (5) below current usage (6)";
        assert_eq!(too_low("web", [Some(5), Some(6)], [Some(6), Some(6)]).as_deref(), Some(pod));
    }
}
