//! postStart and preStop handlers.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes::{exec, http};
use crate::shared::Shared;

/// No handler may hang for ever.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Runs a handler to its end.
///
/// # Errors
/// In words for an event.
pub(crate) async fn run(
    shared: &Shared,
    container: &Container,
    id: &str,
    wasm: bool,
    address: Option<IpAddr>,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        let runtime = shared.runtime(wasm).ok_or("this node has no Wasm runtime")?;
        return match exec::run(runtime.as_ref(), (id, &container.name), action, TIMEOUT).await {
            Ok((0, _)) => Ok(()),
            Ok((code, output)) => Err(format!("command exited with {code}: {output}")),
            Err(why) => Err(why),
        };
    }
    if let Some(action) = &handler.http_get {
        return http::get(container, action, address, TIMEOUT).await.map(|_| ());
    }
    if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("the handler is of a kind that this node does not have (exec, httpGet and sleep are)".into())
}
