//! Gathers the transactions of many callers into few log entries, and gives each caller its outcome.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use mizzen_store::{StoreError, Txn, TxnOutcome};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::network::Peers;
use crate::types::{Batch, Raft};

/// A log entry holds at most so many transactions…
const MAX_TXNS: usize = 1024;
/// …and, but for the last one, so many bytes.
const MAX_BYTES: usize = 2 << 20;
/// Entries under way at once: while one waits for the disk, the next gathers.
const IN_FLIGHT: usize = 2;
/// How often the executor goes round for one entry at most.
const ROUNDS: usize = 4;

pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

pub(crate) enum Proposal {
    Txn(Txn, Answer<TxnOutcome>),
    Compact(u64, Answer<()>),
}

/// Callers whose batches are in the log or on their way to it.
pub(crate) struct Pending {
    proposer: u64,
    callers: Mutex<HashMap<u64, Callers>>,
}

#[derive(Default)]
struct Callers {
    txns: Vec<Answer<TxnOutcome>>,
    compact: Option<Answer<()>>,
}

impl Callers {
    fn fail(self, why: &str) {
        let unavailable = || StoreError::Unavailable { why: why.to_owned() };
        // A caller that is gone does not wait for its answer.
        for answer in self.txns {
            let _ = answer.send(Err(unavailable()));
        }
        if let Some(answer) = self.compact {
            let _ = answer.send(Err(unavailable()));
        }
    }
}

impl Pending {
    /// For one run of a server; `proposer` differs from every other run's.
    pub(crate) fn new(proposer: u64) -> Arc<Self> {
        Arc::new(Self { proposer, callers: Mutex::default() })
    }

    /// A batch was applied here: its callers, if they are here, get their outcomes.
    pub(crate) fn applied(&self, batch: &Batch, outcomes: Vec<TxnOutcome>) {
        if batch.proposer != self.proposer {
            return;
        }
        let Some(callers) = self.callers.lock().remove(&batch.number) else { return };
        for (answer, outcome) in callers.txns.into_iter().zip(outcomes) {
            let _ = answer.send(Ok(outcome));
        }
        if let Some(answer) = callers.compact {
            let _ = answer.send(Ok(()));
        }
    }

    /// A snapshot stands for entries that were not applied one by one: nobody can tell their outcomes.
    pub(crate) fn overtaken(&self) {
        let callers = std::mem::take(&mut *self.callers.lock());
        callers.into_values().for_each(|callers| callers.fail("the outcome was lost with a snapshot"));
    }

    fn fail(&self, number: u64, why: &str) {
        if let Some(callers) = self.callers.lock().remove(&number) {
            callers.fail(why);
        }
    }

    fn fail_all(&self, why: &str) {
        let callers = std::mem::take(&mut *self.callers.lock());
        callers.into_values().for_each(|callers| callers.fail(why));
    }
}

/// The number of a batch, and why it did not get through, if so.
type Proposed = Pin<Box<dyn Future<Output = (u64, Result<(), String>)> + Send>>;

/// Takes proposals until the last sender is gone.
pub(crate) async fn run(
    node_id: u64,
    raft: Raft,
    peers: Arc<dyn Peers>,
    pending: Arc<Pending>,
    mut proposals: mpsc::Receiver<Proposal>,
) {
    let mut under_way: FuturesUnordered<Proposed> = FuturesUnordered::new();
    let mut waiting: Vec<Proposal> = Vec::new();
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            Some((number, result)) = under_way.next() => {
                if let Err(why) = &result {
                    pending.fail(number, why);
                }
            }
            count = proposals.recv_many(&mut waiting, MAX_TXNS), if under_way.len() < IN_FLIGHT => {
                if count == 0 {
                    break;
                }
                join(&mut proposals, &mut waiting).await;
                let mut arrived = waiting.drain(..).peekable();
                while arrived.peek().is_some() {
                    number += 1;
                    let batch = gather(&mut arrived, &pending, number);
                    under_way.push(Box::pin(propose(node_id, raft.clone(), peers.clone(), batch)));
                }
            }
        }
    }
    while let Some((number, result)) = under_way.next().await {
        if let Err(why) = &result {
            pending.fail(number, why);
        }
    }
    pending.fail_all("the store is shutting down");
}

/// Lets those join who are about to propose: an entry costs raft, the log's thread and the disk as much as several requests,
/// however many transactions are in it. Ends when the executor went round and brought nobody, so that one who is alone does
/// not wait.
async fn join(proposals: &mut mpsc::Receiver<Proposal>, waiting: &mut Vec<Proposal>) {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
        let before = waiting.len();
        while waiting.len() < MAX_TXNS
            && let Ok(proposal) = proposals.try_recv()
        {
            waiting.push(proposal);
        }
        if waiting.len() == before {
            return;
        }
    }
}

/// Makes one batch of the next proposals and enters their callers as pending.
fn gather(arrived: &mut std::iter::Peekable<impl Iterator<Item = Proposal>>, pending: &Pending, number: u64) -> Arc<Batch> {
    let mut batch = Batch { proposer: pending.proposer, number, ..Batch::default() };
    let mut callers = Callers::default();
    let mut bytes = 0;
    while bytes < MAX_BYTES
        && batch.compact.is_none()
        && let Some(proposal) = arrived.next()
    {
        match proposal {
            Proposal::Txn(txn, answer) => {
                bytes += txn.puts.iter().map(|(key, encoded)| key.len() + encoded.bytes.len()).sum::<usize>();
                batch.txns.push(txn);
                callers.txns.push(answer);
            }
            Proposal::Compact(revision, answer) => {
                batch.compact = Some(revision);
                callers.compact = Some(answer);
            }
        }
    }
    pending.callers.lock().insert(number, callers);
    Arc::new(batch)
}

async fn propose(node_id: u64, raft: Raft, peers: Arc<dyn Peers>, batch: Arc<Batch>) -> (u64, Result<(), String>) {
    let number = batch.number;
    // Callers bound how long they wait; the sender is gone once raft has ended.
    let leader = raft.metrics().wait_for(|metrics| metrics.current_leader.is_some()).await.ok().and_then(|m| m.current_leader);
    let result = match leader {
        Some(leader) if leader == node_id => raft.client_write(batch).await.map(|_| ()).map_err(|error| error.to_string()),
        // Applied there before it is applied here: the callers are answered by this server's machine.
        Some(leader) => peers.propose(leader, batch).await,
        None => Err("the store is shutting down".to_owned()),
    };
    (number, result)
}
