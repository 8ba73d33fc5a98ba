//! Limits on what passes an interface: a token bucket (tc-tbf(8)) on the end that sends.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::NetworkError;

/// How many milliseconds a packet may wait before it is dropped.
pub(crate) const LATENCY: u64 = 50;

/// Bytes that may pass at once: what passes in 25 ms, and never less than two large segments, without which nothing of their
/// size would pass at all.
pub(crate) fn burst(bits_per_second: u64) -> u64 {
    (bits_per_second / 8 / 40).clamp(128 << 10, 64 << 20)
}

fn line(interface: &str, bits_per_second: u64) -> String {
    let burst = burst(bits_per_second);
    format!("qdisc replace dev {interface} root tbf rate {bits_per_second}bit burst {burst}b latency {LATENCY}ms")
}

/// Limits what is sent by an interface, of a pinned namespace or of this process's own; repeatable. `None` is no limit.
pub(crate) async fn limit(namespace: Option<&Path>, interface: &str, bits_per_second: Option<u64>) -> Result<(), NetworkError> {
    let Some(rate) = bits_per_second else { return Ok(()) };
    tc(namespace, interface, &line(interface, rate)).await
}

/// Runs lines of tc's, as many of them as work; an error when there are others.
pub(crate) async fn tc(namespace: Option<&Path>, interface: &str, lines: &str) -> Result<(), NetworkError> {
    let mut command = match namespace {
        None => Command::new("tc"),
        Some(pin) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", pin.display())).arg("tc");
            command
        }
    };
    let failed = |why: String| NetworkError::Bandwidth { interface: interface.to_owned(), why };
    let cannot = |error: std::io::Error| failed(format!("cannot run tc (Debian package iproute2): {error}"));
    command.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tc = command.kill_on_drop(true).spawn().map_err(cannot)?;
    if let Some(mut stdin) = tc.stdin.take() {
        // One that ends early says why.
        let _ = stdin.write_all(lines.as_bytes()).await;
    }
    let output = tc.wait_with_output().await.map_err(cannot)?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_bucket_that_lets_large_segments_pass() {
        let expected = "qdisc replace dev eth0 root tbf rate 8000000bit burst 131072b latency 50ms";
        assert_eq!(line("eth0", 8_000_000), expected);
        assert_eq!(burst(8_000_000_000), 25_000_000);
    }
}
