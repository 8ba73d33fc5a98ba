//! What the audit log is told of a webhook that was asked, in Kubernetes' annotations.

use serde_json::{Value, json};

use super::calls::Calls;
use super::hooks::Hook;
use crate::audit;

/// When a webhook is asked.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    /// 1 for those that look once more at what others changed since.
    pub(super) round: u8,
    /// Its place among all webhooks.
    pub(super) index: usize,
    /// Where it is counted.
    pub(super) calls: &'a Calls,
}

impl Turn<'_> {
    fn key(self, of: &str) -> String {
        format!("{of}.webhook.admission.k8s.io/round_{}_index_{}", self.round, self.index)
    }

    /// It failed, and the request goes on.
    pub(super) fn failed_open(self, hook: &Hook) {
        let key = self.key(if hook.is_mutating { "failed-open.mutation" } else { "failed-open.validating" });
        audit::annotate(&key, || hook.name.clone());
    }

    /// It has answered; `patch` is what it wants changed. That is told where the bodies of requests are told too.
    pub(super) fn answered(self, hook: &Hook, mutated: bool, patch: Option<&Value>) {
        let about = || json!({"configuration": &*hook.configuration, "webhook": hook.name});
        audit::annotate(&self.key("mutation"), || {
            let mut told = about();
            told["mutated"] = json!(mutated);
            told.to_string()
        });
        if let Some(patch) = patch {
            audit::annotate_with_body(&self.key("patch"), || {
                let mut told = about();
                told["patch"] = patch.clone();
                told["patchType"] = json!("JSONPatch");
                told.to_string()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_when_a_webhook_was_asked() {
        let turn = Turn { round: 1, index: 3, calls: &Calls::default() };
        assert_eq!(turn.key("mutation"), "mutation.webhook.admission.k8s.io/round_1_index_3");
    }
}
