//! What levels and schemas do: Kubernetes' metrics, and the tables below `/debug/api_priority_and_fairness/`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Fairness;
use super::config::Schema;
use super::level::{Level, Snapshot};
use super::stats::Stats;
use crate::metrics::{heading, line};

/// One series for each schema.
type Counter = fn(&Stats) -> &AtomicU64;
type OfLevel = fn(&Snapshot) -> u32;

const COUNTERS: &[(&str, &str, &str, Counter)] = &[
    ("apiserver_flowcontrol_dispatched_requests_total", "counter", "Requests that were let run.", |stats| &stats.dispatched),
    ("apiserver_flowcontrol_current_inqueue_requests", "gauge", "Requests that wait.", |stats| &stats.waiting),
];

const REASONS: &[(&str, Counter)] = &[
    ("queue-full", |stats| &stats.queue_full),
    ("concurrency-limit", |stats| &stats.concurrency_limit),
    ("time-out", |stats| &stats.timed_out),
    ("cancelled", |stats| &stats.cancelled),
];

const LEVELS: &[(&str, &str, OfLevel)] = &[
    ("apiserver_flowcontrol_nominal_limit_seats", "Seats of a level by its shares.", |level| level.bounds.nominal),
    ("apiserver_flowcontrol_lower_limit_seats", "Seats that a level always has.", |level| level.bounds.lower),
    ("apiserver_flowcontrol_upper_limit_seats", "Seats that a level may have by borrowing.", |level| level.bounds.upper),
    ("apiserver_flowcontrol_current_limit_seats", "Seats of a level now.", |level| level.limit),
];

impl Fairness {
    /// Appends the metrics of flow control.
    pub(crate) fn report(&self, page: &mut String) {
        let config = self.config.load();
        let labels = |schema: &Schema| format!("flow_schema=\"{}\",priority_level=\"{}\"", schema.name, schema.level.name);
        for (name, kind, help, counter) in COUNTERS {
            heading(page, name, kind, help);
            for schema in &config.schemas {
                line(page, name, &labels(schema), counter(&schema.stats).load(Ordering::Relaxed));
            }
        }
        let name = "apiserver_flowcontrol_rejected_requests_total";
        heading(page, name, "counter", "Requests that were refused.");
        for schema in &config.schemas {
            for (reason, counter) in REASONS {
                let count = counter(&schema.stats).load(Ordering::Relaxed);
                if count > 0 {
                    line(page, name, &format!("{},reason=\"{reason}\"", labels(schema)), count);
                }
            }
        }
        let name = "apiserver_flowcontrol_current_executing_requests";
        heading(page, name, "gauge", "Requests that run.");
        for schema in &config.schemas {
            line(page, name, &labels(schema), running(&schema.stats));
        }
        let levels: Vec<(&Arc<Level>, Snapshot)> = config.levels.iter().map(|level| (level, level.snapshot())).collect();
        let name = "apiserver_flowcontrol_current_executing_seats";
        heading(page, name, "gauge", "Seats of the requests that run.");
        for (level, snapshot) in &levels {
            line(page, name, &format!("priority_level=\"{}\"", level.name), snapshot.running_seats);
        }
        for (name, help, value) in LEVELS {
            heading(page, name, "gauge", help);
            for (level, snapshot) in &levels {
                line(page, name, &format!("priority_level=\"{}\"", level.name), value(snapshot));
            }
        }
        let waits = "apiserver_flowcontrol_request_wait_duration_seconds";
        heading(page, waits, "histogram", "How long requests waited.");
        for schema in &config.schemas {
            schema.stats.waited.report(page, waits, &format!("execute=\"true\",{}", labels(schema)));
            schema.stats.waited_in_vain.report(page, waits, &format!("execute=\"false\",{}", labels(schema)));
        }
        let runs = "apiserver_flowcontrol_request_execution_seconds";
        heading(page, runs, "histogram", "How long requests ran.");
        for schema in &config.schemas {
            schema.stats.ran.report(page, runs, &labels(schema));
        }
    }

    /// A table by its name; `None` when there is none.
    pub(crate) fn dump(&self, name: &str) -> Option<String> {
        match name {
            "dump_priority_levels" => Some(self.dump_levels()),
            "dump_queues" => Some(self.dump_queues()),
            _ => None,
        }
    }

    fn dump_levels(&self) -> String {
        let config = self.config.load();
        let mut page = "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, \
                        DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests\n"
            .to_owned();
        for level in &config.levels {
            let of_level = || config.schemas.iter().filter(|schema| Arc::ptr_eq(&schema.level, level));
            let sum = |counter: Counter| of_level().map(|schema| counter(&schema.stats).load(Ordering::Relaxed)).sum::<u64>();
            let running: u64 = of_level().map(|schema| running(&schema.stats)).sum();
            let snapshot = level.snapshot();
            let active = snapshot.queues.iter().filter(|queue| queue.waiting > 0).count();
            let idle = running == 0 && snapshot.waiting == 0;
            let rejected = sum(|stats| &stats.queue_full) + sum(|stats| &stats.concurrency_limit);
            // Writing into a String cannot fail.
            let _ = writeln!(
                page,
                "{}, {active}, {idle}, false, {}, {running}, {}, {rejected}, {}, {}",
                level.name,
                snapshot.waiting,
                sum(|stats| &stats.dispatched),
                sum(|stats| &stats.timed_out),
                sum(|stats| &stats.cancelled),
            );
        }
        page
    }

    fn dump_queues(&self) -> String {
        let mut page = "PriorityLevelName, Index, PendingRequests, SeatsInUse, NextDispatchR, InitialSeatsSum\n".to_owned();
        for level in &self.config.load().levels {
            for queue in level.snapshot().queues {
                let (name, index) = (&level.name, queue.index);
                let (waiting, running, start, seats) = (queue.waiting, queue.running_seats, queue.start, queue.waiting_seats);
                let _ = writeln!(page, "{name}, {index}, {waiting}, {running}, {start:.8}ss, {seats}");
            }
        }
        page
    }
}

fn running(stats: &Stats) -> u64 {
    let finished = stats.finished.load(Ordering::Relaxed);
    stats.dispatched.load(Ordering::Relaxed).saturating_sub(finished)
}
