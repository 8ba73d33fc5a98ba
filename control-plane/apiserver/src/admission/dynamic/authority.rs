//! What expressions ask of the authorizer.

use std::sync::Arc;

use mizzen_extensions::cel::{Authority, Question};

use crate::auth::{Action, Authorizer, Decision, Identity};

pub(super) struct Asking {
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) identity: Arc<Identity>,
}

impl Authority for Asking {
    fn decide(&self, question: &Question) -> (bool, String) {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            Identity::component(&format!("system:serviceaccount:{namespace}:{name}"), &groups)
        });
        let action = match &question.path {
            Some(path) => Action::Path { verb: &question.verb, path },
            None => Action::Resource {
                verb: &question.verb,
                group: &question.group,
                resource: &question.resource,
                subresource: &question.subresource,
                namespace: &question.namespace,
                name: &question.name,
            },
        };
        match self.authorizer.authorize(account.as_ref().unwrap_or(&self.identity), &action) {
            Decision::Allow { reason } => (true, reason),
            Decision::NoOpinion { reason } => (false, reason),
        }
    }
}
