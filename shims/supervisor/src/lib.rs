//! What every shim does beside running its workload: become a daemon, reap, write logs and leave records.

pub mod clock;
pub mod daemon;
pub mod log;
pub mod reap;
