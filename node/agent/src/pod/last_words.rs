//! The message that a container leaves behind when it ends.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use mizzen_runtime::{ContainerState, ContainerStatus};
use nix::fcntl::OFlag;

use super::containers::containers;
use super::labels;
use crate::logs;
use crate::shared::Shared;

/// Bytes of a termination message that are kept, as the kubelet does.
const MESSAGE: u64 = 4096;
/// The same where the log stands in for it.
const MESSAGE_FROM_LOG: usize = 2048;

/// Fills in the message that a container that ended left behind.
pub(super) async fn read(shared: &Shared, pod: &Pod, status: &mut ContainerStatus) {
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
