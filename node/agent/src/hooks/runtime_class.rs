//! The handler of a pod's RuntimeClass: which runtime its author insists on. A pod whose class names a handler that this
//! node does not have must not run with another one.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use mizzen_reconcile::typed;

use crate::error::HookError;
use crate::shared::Shared;

/// Handlers, and whether they run Wasm. The names are those that manifests have for runtimes of the same kind.
pub(crate) const HANDLERS: [(&str, bool); 3] = [("runc", false), ("youki", false), ("wasmtime", true)];

/// Refuses a pod whose class asks for what this node, or the runtime of its images, is not. `wasm` is what is known of these.
pub(crate) async fn check(shared: &Shared, pod: &Pod, wasm: Option<bool>) -> Result<(), HookError> {
    let Some(class) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).filter(|name| !name.is_empty())
    else {
        return Ok(());
    };
    suits(&handler(shared, pod, class).await?, wasm)
}

/// What is known of the class is kept beside the pod's volumes: a class does not change, and the agent may start again while
/// the server is away.
async fn handler(shared: &Shared, pod: &Pod, class: &str) -> Result<String, HookError> {
    let dir = shared.volumes.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
    let path = dir.join("handler");
    if let Ok(handler) = tokio::fs::read_to_string(&path).await {
        return Ok(handler);
    }
    let found = typed::get::<RuntimeClass>(shared.client.as_ref(), "", class).await?;
    let found = found.ok_or_else(|| HookError::RuntimeClass(class.to_owned()))?;
    tokio::fs::create_dir_all(&dir).await.map_err(HookError::io("create", &dir))?;
    tokio::fs::write(&path, &found.handler).await.map_err(HookError::io("write", &path))?;
    Ok(found.handler.clone())
}

fn suits(handler: &str, wasm: Option<bool>) -> Result<(), HookError> {
    let Some((_, runs_wasm)) = HANDLERS.iter().find(|(name, _)| *name == handler) else {
        return Err(HookError::Handler { handler: handler.to_owned() });
    };
    match wasm {
        Some(wasm) if wasm != *runs_wasm => {
            Err(HookError::HandlerOfOthers { handler: handler.to_owned(), runs_wasm: *runs_wasm })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_known_and_runs_what_the_images_are() {
        for (handler, wasm, said) in [
            ("runc", None, None),
            ("runc", Some(false), None),
            ("wasmtime", Some(true), None),
            ("kata", None, Some("no runtime for \"kata\" is configured")),
            ("wasmtime", Some(false), Some("the handler \"wasmtime\" runs WebAssembly only, and not all images are that")),
            ("youki", Some(true), Some("the handler \"youki\" runs containers only, and the images are WebAssembly")),
        ] {
            assert_eq!(suits(handler, wasm).err().map(|error| error.to_string()).as_deref(), said);
        }
    }
}
