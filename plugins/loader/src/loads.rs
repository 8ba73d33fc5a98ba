//! From a component to a plugin.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use serde_json::Value;

use crate::fetch::Component;
use crate::refusal::Refusal;
use crate::wanted::Terms;

/// Makes plugins of one kind.
#[async_trait]
pub trait Loads: Send + Sync + 'static {
    type Plugin: ?Sized + Send + Sync + 'static;

    /// Whether its code is there already, so that loading takes next to no time.
    fn is_compiled(&self, component: &Component) -> bool;

    /// A plugin that is ready to be called: its settings were found valid, and it is configured with them.
    ///
    /// # Errors
    /// When the component is no such plugin, may not do what it needs to, or does not take its settings.
    async fn load(&self, object: &ObjectRef, component: &Component, terms: &Terms) -> Result<Arc<Self::Plugin>, Refusal>;

    /// What a plugin did since it was loaded.
    fn statistics(&self, plugin: &Self::Plugin) -> Statistics;

    /// Lets a plugin work as its object (a document, defaulted) says, in place of the one that did so before; without one, none
    /// works for the object any more. Called often; nothing may happen when it is so already. For those who are not looked up
    /// in a [`crate::Table`].
    ///
    /// # Errors
    /// When it does not work everywhere that the object says.
    fn engage(&self, _object: &ObjectRef, _document: &Value, _plugin: Option<&Arc<Self::Plugin>>) -> Result<(), Refusal> {
        Ok(())
    }
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
    /// Of a scheduler plugin that has looked on.
    pub shadow: Option<Shadow>,
}

/// What would have been different, had a scheduler plugin taken part that only looked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Pods that were placed.
    pub decisions: u64,
    /// Pods of these that would have gone to another node.
    pub elsewhere: u64,
    /// Pods of these that would have waited.
    pub unplaced: u64,
    /// Feasible nodes.
    pub nodes: u64,
    /// Nodes of these that it would have rejected.
    pub rejected_nodes: u64,
}
