//! The controller runner: what a reconciler's answers do to its keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use mizzen_reconcile::{Action, Backoff, Controller, Error, Queue, Reconciler};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Answers by the key's name and remembers when it was asked, in seconds from the start.
struct Scripted {
    start: Instant,
    asked: Mutex<HashMap<String, Vec<u64>>>,
}

#[async_trait]
impl Reconciler for Scripted {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let times = {
            let mut asked = self.asked.lock();
            let times = asked.entry(key.name.clone()).or_default();
            times.push(self.start.elapsed().as_secs());
            times.len()
        };
        match key.name.as_str() {
            "fails twice" if times <= 2 => Err(Error::Other("not yet".to_owned())),
            "panics once" if times == 1 => panic!("as a bug would"),
            "comes back" if times <= 2 => Ok(Action::RequeueAfter(Duration::from_secs(5))),
            _ => Ok(Action::Done),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_come_back_as_their_reconciler_says_and_one_panic_harms_no_other() {
    let queue = Queue::new(Backoff::new(Duration::from_secs(1), Duration::from_secs(8)));
    let names = ["fails twice", "panics once", "comes back", "is done"];
    for name in names {
        queue.add(ObjectRef::cluster(name));
    }
    let scripted = Arc::new(Scripted { start: Instant::now(), asked: Mutex::default() });
    let cancel = CancellationToken::new();
    let running = tokio::spawn(Controller::new("test", queue, scripted.clone()).workers(2).run(cancel.clone()));
    tokio::time::sleep(Duration::from_secs(120)).await;
    cancel.cancel();
    running.await.expect("ends when cancelled");
    let expected = [vec![0, 1, 3], vec![0, 1], vec![0, 5, 10], vec![0]];
    assert_eq!(*scripted.asked.lock(), names.map(str::to_owned).into_iter().zip(expected).collect());
}
