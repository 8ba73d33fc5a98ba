//! Where the controllers' work queues meet the metrics of the API server.

use std::sync::Arc;

use mizzen_apiserver::work_queues::{Times, WorkQueue, WorkQueues};
use mizzen_reconcile::Queues;
use mizzen_reconcile::vitals::{BOUNDS, Spread};

/// Tells of the queues that there are.
pub fn known(queues: Queues) -> WorkQueues {
    Arc::new(move || {
        let of = |(name, vitals): (&'static str, mizzen_reconcile::Vitals)| WorkQueue {
            name,
            depth: vitals.depth,
            adds: vitals.adds,
            retries: vitals.retries,
            waited: times(&vitals.waited),
            worked: times(&vitals.worked),
            unfinished: vitals.unfinished,
            longest: vitals.longest,
        };
        queues.vitals().into_iter().map(of).collect()
    })
}

fn times(spread: &Spread) -> Times {
    Times { bounds: &BOUNDS, counts: spread.counts.to_vec(), sum: spread.sum }
}
