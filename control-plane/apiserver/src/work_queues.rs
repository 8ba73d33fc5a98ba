//! What the work queues of controllers in this process do, at `/metrics`, in Kubernetes' names.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::{heading, line};

/// How often something took how long.
#[derive(Clone, Debug)]
pub struct Times {
    /// Seconds.
    pub bounds: &'static [f64],
    /// Within each bound and not within the one before, and beyond all of them.
    pub counts: Vec<u64>,
    pub sum: Duration,
}

/// One queue.
#[derive(Clone, Debug)]
pub struct WorkQueue {
    /// The controller's.
    pub name: &'static str,
    pub depth: usize,
    pub adds: u64,
    pub retries: u64,
    pub waited: Times,
    pub worked: Times,
    /// How long what is worked on now has been, all together and the longest.
    pub unfinished: Duration,
    pub longest: Duration,
}

/// Tells of all queues.
pub type WorkQueues = Arc<dyn Fn() -> Vec<WorkQueue> + Send + Sync>;

/// Name, kind, help and value of a metric.
type Single = (&'static str, &'static str, &'static str, fn(&WorkQueue) -> f64);
/// Name, help and values of a histogram.
type Spread = (&'static str, &'static str, fn(&WorkQueue) -> &Times);

const VALUES: [Single; 5] = [
    ("workqueue_adds_total", "counter", "Keys that were added.", |queue| queue.adds as f64),
    ("workqueue_retries_total", "counter", "Keys that are tried again.", |queue| queue.retries as f64),
    ("workqueue_depth", "gauge", "Keys that are ready.", |queue| queue.depth as f64),
    ("workqueue_unfinished_work_seconds", "gauge", "How long keys are worked on now, in all.", |queue| {
        queue.unfinished.as_secs_f64()
    }),
    ("workqueue_longest_running_processor_seconds", "gauge", "The longest of them.", |queue| queue.longest.as_secs_f64()),
];
const SPREADS: [Spread; 2] = [
    ("workqueue_queue_duration_seconds", "How long keys waited, in seconds.", |queue| &queue.waited),
    ("workqueue_work_duration_seconds", "How long keys were worked on, in seconds.", |queue| &queue.worked),
];

pub(crate) fn report(page: &mut String, queues: &[WorkQueue]) {
    for (name, kind, help, value) in VALUES {
        heading(page, name, kind, help);
        for queue in queues {
            line(page, name, &format!("name=\"{}\"", queue.name), value(queue));
        }
    }
    for (name, help, times) in SPREADS {
        heading(page, name, "histogram", help);
        for queue in queues {
            let (Times { bounds, counts, sum }, labels) = (times(queue), format!("name=\"{}\"", queue.name));
            let mut total = 0;
            for (index, count) in counts.iter().enumerate() {
                total += count;
                let bound = bounds.get(index).map_or("+Inf".to_owned(), ToString::to_string);
                line(page, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), total);
            }
            line(page, &format!("{name}_sum"), &labels, sum.as_secs_f64());
            line(page, &format!("{name}_count"), &labels, total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_told_in_kubernetes_names() {
        let times = |counts: [u64; 3]| Times { bounds: &[0.1, 1.0], counts: counts.to_vec(), sum: Duration::from_secs(3) };
        let queue = WorkQueue {
            name: "job",
            depth: 4,
            adds: 9,
            retries: 1,
            waited: times([1, 2, 3]),
            worked: times([0, 0, 1]),
            unfinished: Duration::from_millis(1500),
            longest: Duration::from_secs(1),
        };
        let mut page = String::new();
        report(&mut page, &[queue]);
        for wanted in [
            "workqueue_adds_total{name=\"job\"} 9\n",
            "workqueue_depth{name=\"job\"} 4\n",
            "workqueue_unfinished_work_seconds{name=\"job\"} 1.5\n",
            "workqueue_queue_duration_seconds_bucket{name=\"job\",le=\"1\"} 3\n",
            "workqueue_queue_duration_seconds_bucket{name=\"job\",le=\"+Inf\"} 6\n",
            "workqueue_work_duration_seconds_sum{name=\"job\"} 3\n",
        ] {
            assert!(page.contains(wanted), "{wanted} in {page}");
        }
    }
}
