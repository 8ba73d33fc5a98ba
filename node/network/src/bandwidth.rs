//! Limits on what passes an interface: a token bucket (tc-tbf(8)) on the end that sends.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::NetworkError;

/// How long a packet may wait before it is dropped.
const LATENCY: &str = "50ms";

/// Bytes that may pass at once: what passes in 25 ms, and never less than two large segments, without which nothing of their
/// size would pass at all.
pub(crate) fn burst(bits_per_second: u64) -> u64 {
    (bits_per_second / 8 / 40).clamp(128 << 10, 64 << 20)
}

fn arguments(interface: &str, bits_per_second: u64) -> Vec<String> {
    let (rate, burst) = (format!("{bits_per_second}bit"), format!("{}b", burst(bits_per_second)));
    let all = ["qdisc", "replace", "dev", interface, "root", "tbf", "rate", &rate, "burst", &burst, "latency", LATENCY];
    all.map(str::to_owned).to_vec()
}

/// Limits what is sent by an interface, of a pinned namespace or of this process's own; repeatable. `None` is no limit.
pub(crate) async fn limit(namespace: Option<&Path>, interface: &str, bits_per_second: Option<u64>) -> Result<(), NetworkError> {
    let Some(rate) = bits_per_second else { return Ok(()) };
    let mut command = match namespace {
        None => Command::new("tc"),
        Some(pin) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", pin.display())).arg("tc");
            command
        }
    };
    let failed = |why: String| NetworkError::Bandwidth { interface: interface.to_owned(), why };
    let output = command.args(arguments(interface, rate)).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| failed(format!("cannot run tc (Debian package iproute2): {error}")))?;
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
        assert_eq!(arguments("eth0", 8_000_000).join(" "), expected);
        assert_eq!(burst(8_000_000_000), 25_000_000);
    }
}
