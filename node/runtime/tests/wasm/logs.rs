use std::time::Duration;

use mizzen_runtime::{LogLimits, Runtime};
use mizzen_shim_protocol::logs;

use crate::support::Node;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_in_new_files_with_every_line_once_also_after_the_agent_came_back() {
    let mut node = Node::new();
    let mut spec = node.cli("counts", &["count"]);
    spec.log_limits = Some(LogLimits { max_bytes: 4096, max_files: 1000 });
    node.runtime.start(&spec).await.unwrap();
    until_rotated(&spec.log_path, 2).await;
    node.restart();
    until_rotated(&spec.log_path, 5).await;
    node.runtime.signal("counts", 9).await.unwrap();
    node.runtime.remove("counts").await.unwrap();

    let older = logs::rotated(&spec.log_path).unwrap().into_iter().map(|(_, path)| path);
    let text: String = older.chain([spec.log_path]).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for (number, line) in text.lines().enumerate() {
        assert!(line.ends_with(&format!(" stdout F line {}", number + 1)), "{number}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_files_are_kept_than_are_wanted() {
    let node = Node::new();
    let mut spec = node.cli("counts", &["count"]);
    spec.log_limits = Some(LogLimits { max_bytes: 512, max_files: 3 });
    node.runtime.start(&spec).await.unwrap();
    let newest = || logs::rotated(&spec.log_path).unwrap().last().map_or(0, |(number, _)| *number);
    while newest() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.runtime.remove("counts").await.unwrap();
    // Between a rotation and the removal of what is too old there is one more.
    while logs::rotated(&spec.log_path).unwrap().len() > 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_rotated(log: &std::path::Path, files: usize) {
    while logs::rotated(log).unwrap().len() < files {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
