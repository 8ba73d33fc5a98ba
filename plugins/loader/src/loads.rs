//! From a component to a plugin.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::ObjectRef;

use crate::fetch::Component;
use crate::refusal::Refusal;
use crate::wanted::Terms;

/// Makes plugins of one kind.
#[async_trait]
pub trait Loads: Send + Sync + 'static {
    type Plugin: ?Sized + Send + Sync + 'static;

    /// A plugin that is ready to be called: its settings were found valid, and it is configured with them.
    ///
    /// # Errors
    /// When the component is no such plugin, may not do what it needs to, or does not take its settings.
    async fn load(&self, object: &ObjectRef, component: &Component, terms: &Terms) -> Result<Arc<Self::Plugin>, Refusal>;

    /// What a plugin did since it was loaded.
    fn statistics(&self, plugin: &Self::Plugin) -> Statistics;
}

/// What a plugin did since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub calls: u64,
    /// Calls of these that failed.
    pub errors: u64,
    /// Of a call, in microseconds.
    pub p50: u64,
    pub p99: u64,
    /// Held by its instances, in bytes.
    pub memory: u64,
}
