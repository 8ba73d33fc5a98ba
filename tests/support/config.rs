//! What every node of a test is configured with.

/// How full the machine's disk is has nothing to do with what is tested.
const ALWAYS: [&str; 2] = ["evictionHard: {nodefs.available: 0%, nodefs.inodesFree: 0%}", "imageGCHighThresholdPercent: 100"];

/// The test's own fields go before.
pub fn of_a_test(config: &str) -> String {
    let key = |line: &str| line.split_once(':').map(|(key, _)| key.to_owned());
    let missing = |line: &&&str| !config.lines().any(|own| key(own) == key(line));
    ALWAYS.iter().filter(missing).flat_map(|line| [line, "\n"]).chain([config]).collect()
}
