//! The store alone, in this process: one voter, fsync on.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::object::Encoded;
use mizzen_raft::RaftStore;
use mizzen_store::{Store, Txn};
use serde_json::json;

use crate::load::{Caller, DOCUMENT};

pub(crate) fn writers(store: &Arc<RaftStore>, clients: usize) -> Vec<Box<dyn Caller>> {
    (0..clients).map(|client| Box::new(Put { store: store.clone(), clients, client }) as _).collect()
}

struct Put {
    store: Arc<RaftStore>,
    clients: usize,
    client: usize,
}

#[async_trait]
impl Caller for Put {
    async fn call(&mut self, turn: usize) -> anyhow::Result<bool> {
        let name = format!("{}-{}-{turn}", self.clients, self.client);
        let document = json!({"metadata": {"name": name}, "data": "x".repeat(DOCUMENT)});
        let document = Encoded::from_value(document).ok_or_else(|| anyhow::anyhow!("the document has metadata"))?;
        self.store.txn(Txn { puts: vec![(format!("/bench/{name}"), document)], ..Txn::default() }).await?;
        Ok(true)
    }
}
