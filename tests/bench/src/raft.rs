//! The store alone, in this process: one voter, fsync on.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::object::Encoded;
use mizzen_raft::RaftStore;
use mizzen_store::{Store, Txn};
use serde_json::json;

use crate::load::{DOCUMENT, Writer};

pub(crate) fn writers(store: &Arc<RaftStore>, clients: usize) -> Vec<Box<dyn Writer>> {
    (0..clients).map(|_| Box::new(Put(store.clone())) as _).collect()
}

struct Put(Arc<RaftStore>);

#[async_trait]
impl Writer for Put {
    async fn write(&mut self, name: &str) -> anyhow::Result<()> {
        let document = json!({"metadata": {"name": name}, "data": "x".repeat(DOCUMENT)});
        let document = Encoded::from_value(document).ok_or_else(|| anyhow::anyhow!("the document has metadata"))?;
        self.0.txn(Txn { puts: vec![(format!("/bench/{name}"), document)], ..Txn::default() }).await?;
        Ok(())
    }
}
