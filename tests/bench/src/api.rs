//! Requests per second through the API, verb by verb: ConfigMaps of 1 kB over TLS, fsync on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mizzen_tests::Cluster;

use crate::https::{Endpoint, Https, Request};
use crate::load::{self, Caller, DOCUMENT};
use crate::table::Table;

const TIME: Duration = Duration::from_secs(4);
const CLIENTS: [usize; 2] = [1, 64];
/// Objects that each client reads and changes in turn.
const OBJECTS: usize = 50;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Get,
    Update,
    MergePatch,
    Apply,
    List,
    Delete,
}

/// With the goal for many clients.
const OPERATIONS: &[(Operation, &str)] = &[
    (Operation::Create, "10,000/s with 64"),
    (Operation::Get, "20,000/s"),
    (Operation::Update, ""),
    (Operation::MergePatch, "8,000/s"),
    (Operation::Apply, "8,000/s"),
    (Operation::List, ""),
    (Operation::Delete, ""),
];

pub(crate) async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let cluster = Cluster::up();
    let endpoint = Endpoint::of(&cluster)?;
    for clients in CLIENTS {
        let mut created = vec![0; clients];
        for &(operation, goal) in OPERATIONS {
            let (mut callers, mut counts) = (Vec::<Box<dyn Caller>>::new(), Vec::new());
            for (client, &objects) in created.iter().enumerate() {
                let caller = Client::new(&endpoint, operation, &format!("{clients}-{client}"), objects).await?;
                counts.push(caller.done.clone());
                callers.push(Box::new(caller));
            }
            let load = load::run(callers, TIME, cluster.pid()).await?;
            if operation == Operation::Create {
                created = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            }
            let what = format!("API: {operation:?} ConfigMaps of 1 kB over TLS, fsync, {clients} clients (p50 / p99)");
            table.row(&what, load.summary(), if clients > 1 { goal } else { "" }, load.cpu);
        }
    }
    Ok(())
}

/// One client on a connection of its own, with objects of its own.
pub(crate) struct Client {
    connection: Https,
    operation: Operation,
    name: String,
    /// How many of its objects there are.
    objects: usize,
    done: Arc<AtomicUsize>,
}

impl Client {
    pub(crate) async fn new(endpoint: &Endpoint, operation: Operation, name: &str, objects: usize) -> anyhow::Result<Self> {
        let (connection, done) = (endpoint.connect().await?, Arc::default());
        Ok(Self { connection, operation, name: name.to_owned(), objects, done })
    }

    /// Written out: to build it as a value and to encode that would cost more than to send it.
    fn object(&self, name: &str, turn: usize) -> String {
        let (client, data) = (&self.name, data(turn));
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","labels":{{"client":"{client}"}}}},"data":{data}}}"#
        )
    }
}

/// [`DOCUMENT`] bytes, different each time, or nothing would be written.
fn data(turn: usize) -> String {
    let turn = turn.to_string();
    let zeros = "0".repeat(DOCUMENT.saturating_sub(turn.len()));
    format!(r#"{{"text":"{zeros}{turn}"}}"#)
}

#[async_trait]
impl Caller for Client {
    async fn call(&mut self, turn: usize) -> anyhow::Result<bool> {
        let own = |number: usize| format!("bench-{}-{number}", self.name);
        let one = own(turn % self.objects.clamp(1, OBJECTS));
        let path = format!("{MAPS}/{one}");
        let (method, path, content_type, body) = match self.operation {
            Operation::Create => ("POST", MAPS.to_owned(), "application/json", self.object(&own(turn), turn)),
            Operation::Get => ("GET", path, "", String::new()),
            Operation::Update => ("PUT", path, "application/json", self.object(&one, turn)),
            Operation::MergePatch => ("PATCH", path, "application/merge-patch+json", format!(r#"{{"data":{}}}"#, data(turn))),
            Operation::Apply => (
                "PATCH",
                format!("{path}?fieldManager=bench&force=true"),
                "application/apply-patch+yaml",
                self.object(&one, turn),
            ),
            Operation::List => ("GET", format!("{MAPS}?limit=100"), "", String::new()),
            Operation::Delete if turn >= self.objects => return Ok(false),
            Operation::Delete => ("DELETE", format!("{MAPS}/{}", own(turn)), "", String::new()),
        };
        let request = Request { method, path: &path, content_type, body: body.as_bytes() };
        self.connection.send(&request).await?;
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}
