//! The parameters of requests that write, checked before anything else is looked at.

use mizzen_api::status::Cause;
use mizzen_api::{Status, Verb, validate};
use mizzen_client::{ApiRequest, PatchKind};

use crate::errors;

/// Bytes of a field manager's name.
const MAX_MANAGER: usize = 128;

/// # Errors
/// `Invalid` with every parameter that cannot be.
pub(super) fn check(request: &ApiRequest) -> Result<(), Status> {
    let kind = match request.verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        _ => return Ok(()),
    };
    let mut causes = Vec::new();
    let manager = request.write.field_manager.as_str();
    if request.verb == Verb::Patch {
        match (request.patch == Some(PatchKind::Apply), manager.is_empty(), request.write.force) {
            (true, true, _) => causes.push(validate::required("fieldManager", "is required for apply patch")),
            (false, _, true) => causes.push(validate::forbidden("force", "may not be specified for non-apply patch")),
            _ => {}
        }
    }
    causes.extend(field_manager(manager));
    let validation = request.write.field_validation.as_str();
    if !matches!(validation, "" | "Ignore" | "Warn" | "Strict") {
        causes.push(validate::not_supported("fieldValidation", validation, &["", "Ignore", "Strict", "Warn"]));
    }
    errors::options(kind, causes)
}

fn field_manager(manager: &str) -> Option<Cause> {
    if manager.len() > MAX_MANAGER {
        let message = format!("Too long: may not be more than {MAX_MANAGER} bytes");
        return Some(errors::cause("FieldValueTooLong", "fieldManager", message));
    }
    let odd = manager.chars().find(|c| c.is_control())?;
    let why = format!("{odd:?}: should only contain printable characters");
    Some(validate::invalid_text("fieldManager", manager, why))
}

#[cfg(test)]
mod tests {
    use mizzen_api::GroupVersionResource;
    use serde_json::json;

    use super::*;

    fn patch(kind: PatchKind, manager: &str, force: bool) -> Result<(), String> {
        let pods = GroupVersionResource::new("", "v1", "pods");
        let mut request = ApiRequest::patch(&pods, "n", "p", kind, json!({})).manager(manager);
        request.write.force = force;
        check(&request).map_err(|status| format!("{} {}", status.code, status.message))
    }

    #[test]
    fn parameters_are_refused_in_kubernetes_words() {
        assert_eq!(patch(PatchKind::Apply, "me", true), Ok(()));
        let required = "422 PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
        assert_eq!(patch(PatchKind::Apply, "", false), Err(required.to_owned()));
        let forbidden =
            "422 PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch";
        assert_eq!(patch(PatchKind::Merge, "", true), Err(forbidden.to_owned()));
        assert!(patch(PatchKind::Merge, &"x".repeat(129), false).is_err_and(|why| why.contains("fieldManager: Too long")));
        assert!(patch(PatchKind::Merge, "a\nb", false).is_err_and(|why| why.contains("printable")));
    }
}
