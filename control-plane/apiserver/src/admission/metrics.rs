//! How long admission takes, at `/metrics`, in Kubernetes' names.

use std::time::{Duration, Instant};

use super::Operation;
use crate::histogram::Histogram;

/// Seconds.
const BOUNDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
pub(crate) const OF_STEPS: &str = "apiserver_admission_step_admission_duration_seconds";
pub(crate) const OF_PLUGINS: &str = "apiserver_admission_controller_admission_duration_seconds";

#[derive(Clone, Copy)]
pub(crate) enum Step {
    Admit,
    Validate,
}

const STEPS: usize = 2;
const OPERATIONS: [Operation; 4] = [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect];

/// How long something took, by step, operation and whether it refused the request.
pub(crate) struct Times([[[Histogram<{ BOUNDS.len() }>; 2]; OPERATIONS.len()]; STEPS]);

impl Default for Times {
    fn default() -> Self {
        let histogram = |_| Histogram::new(&BOUNDS);
        Self([(); STEPS].map(|()| [(); OPERATIONS.len()].map(|()| [(); 2].map(histogram))))
    }
}

impl Times {
    pub(crate) fn took(&self, (step, operation): (Step, Operation), rejected: bool, time: Duration) {
        self.0[step as usize][operation as usize][usize::from(rejected)].took(time);
    }

    /// Runs something that may refuse a request, and counts it.
    pub(crate) async fn time<T, E>(&self, at: (Step, Operation), work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        let done = work.await;
        self.took(at, done.is_err(), began.elapsed());
        done
    }

    /// Appends what was counted; `labels` come before those of the histograms.
    pub(crate) fn report(&self, page: &mut String, name: &str, labels: &str) {
        self.report_step(page, name, (Step::Admit, labels));
        self.report_step(page, name, (Step::Validate, labels));
    }

    /// The same of one step.
    pub(crate) fn report_step(&self, page: &mut String, name: &str, (step, labels): (Step, &str)) {
        let text = match step {
            Step::Admit => "admit",
            Step::Validate => "validate",
        };
        for operation in OPERATIONS {
            let operation_text = operation.as_str();
            for rejected in [false, true] {
                let labels = format!("{labels}type=\"{text}\",operation=\"{operation_text}\",rejected=\"{rejected}\"");
                self.0[step as usize][operation as usize][usize::from(rejected)].report(page, name, &labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_step_operation_and_outcome() {
        let times = Times::default();
        times.took((Step::Validate, Operation::Delete), true, Duration::from_millis(10));
        times.took((Step::Admit, Operation::Create), false, Duration::from_secs(3));
        let mut page = String::new();
        times.report(&mut page, OF_PLUGINS, "name=\"a\",");
        for wanted in [
            "_bucket{name=\"a\",type=\"validate\",operation=\"DELETE\",rejected=\"true\",le=\"0.025\"} 1\n",
            "_bucket{name=\"a\",type=\"admit\",operation=\"CREATE\",rejected=\"false\",le=\"2.5\"} 0\n",
            "_sum{name=\"a\",type=\"admit\",operation=\"CREATE\",rejected=\"false\"} 3\n",
        ] {
            assert!(page.contains(&format!("{OF_PLUGINS}{wanted}")), "{wanted} in {page}");
        }
        assert!(!page.contains("UPDATE"), "{page}");
    }
}
