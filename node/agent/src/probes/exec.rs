//! Runs a command in a container and waits for it.

use std::time::Duration;

use k8s_openapi::api::core::v1::ExecAction;
use mizzen_runtime::{ExecSpec, Runtime, RuntimeError};
use tokio::io::{AsyncRead, AsyncReadExt};

/// No more of a probe's output is kept.
const OUTPUT: u64 = 10 * 1024;

/// The exit code, and what the command printed. `container` is its name in the pod.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    (id, container): (&str, &str),
    action: &ExecAction,
    timeout: Duration,
) -> Result<(i32, String), String> {
    let spec = ExecSpec { command: action.command.clone().unwrap_or_default(), terminal: false, stdin: false };
    let told = |error: RuntimeError| error.called(&format!("{container:?}")).to_string();
    let all = async {
        let session = runtime.exec(id, spec).await.map_err(told)?;
        let stderr = async {
            match session.stderr {
                Some(stderr) => read(stderr).await,
                None => Vec::new(),
            }
        };
        let (mut out, err) = tokio::join!(read(session.stdout), stderr);
        out.extend(err);
        let code = session.exit.await.map_err(|_| "the command's end was not told".to_owned())?.map_err(told)?;
        Ok((code, String::from_utf8_lossy(&out).trim_end().to_owned()))
    };
    tokio::time::timeout(timeout, all)
        .await
        .map_err(|_| format!("command {:?} timed out after {timeout:?}", action.command.as_deref().unwrap_or_default()))?
}

/// The beginning of a stream; the rest is read and dropped, so that the writer is not held up.
async fn read(mut stream: Box<dyn AsyncRead + Send + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = (&mut stream).take(OUTPUT).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    kept
}
