//! Several authorizers as one: the first that allows decides.

use std::sync::Arc;

use mizzen_api::FieldSelector;

use super::{Action, Authorizer, Decision, Identity};

pub struct Union(pub Vec<Arc<dyn Authorizer>>);

impl Union {
    fn ask(&self, question: impl Fn(&dyn Authorizer) -> Decision) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match question(authorizer.as_ref()) {
                Decision::NoOpinion { reason } if reason.is_empty() => {}
                Decision::NoOpinion { reason } => reasons.push(reason),
                allowed => return allowed,
            }
        }
        Decision::NoOpinion { reason: reasons.join("\n") }
    }
}

impl Authorizer for Union {
    fn authorize(&self, user: &Identity, action: &Action<'_>) -> Decision {
        self.ask(|authorizer| authorizer.authorize(user, action))
    }

    fn authorize_selected(&self, user: &Identity, action: &Action<'_>, fields: &FieldSelector) -> Decision {
        self.ask(|authorizer| authorizer.authorize_selected(user, action, fields))
    }
}
