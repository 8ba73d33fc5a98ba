//! Plugins that only look on, beside the scheduler: no decision waits for them.

use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::mpsc;

use crate::apart::apart;
use crate::cycle::Decision;
use crate::pod::PodInfo;
use crate::profile::Profile;
use crate::scheduler::Scheduler;
use crate::snapshot::Snapshot;

/// Decisions that wait to be looked at. More pass unseen: what is counted are those that were looked at.
const BEHIND: usize = 256;

/// Made when there is the first plugin that only looks on.
#[derive(Default)]
pub(crate) struct Onlookers(OnceLock<mpsc::Sender<Seen>>);

struct Seen {
    profile: Arc<Profile>,
    pod: Arc<PodInfo>,
    decision: Decision,
}

impl Onlookers {
    /// Never waits.
    pub(crate) fn show(&self, scheduler: &Arc<Scheduler>, profile: &Arc<Profile>, pod: &Arc<PodInfo>, decision: Decision) {
        let sender = self.0.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(BEHIND);
            tokio::spawn(look_on(Arc::downgrade(scheduler), receiver));
            sender
        });
        if sender.try_send(Seen { profile: profile.clone(), pod: pod.clone(), decision }).is_err() {
            tracing::debug!(pod = %pod.key, "a decision passes unseen by plugins that look on");
        }
    }
}

/// Ends with the scheduler. The nodes of a decision are shown as they were then, the others as they are now.
async fn look_on(scheduler: Weak<Scheduler>, mut decisions: mpsc::Receiver<Seen>) {
    let Some(follower) = scheduler.upgrade().map(|scheduler| scheduler.cluster.lock().follow()) else { return };
    let mut snapshot = Snapshot::default();
    while let Some(Seen { profile, pod, decision }) = decisions.recv().await {
        let Some(scheduler) = scheduler.upgrade() else { return };
        scheduler.cluster.lock().refresh(&follower, &mut snapshot);
        drop(scheduler);
        apart(|| decision.show(&profile, &pod, &snapshot));
    }
}
