//! Field validation: what strict decoding has to say of a body, and what becomes of it.

use mizzen_api::schema::{self, Problem};
use mizzen_api::status::Cause;
use mizzen_api::validate::{validate_metadata, validate_metadata_update};
use mizzen_api::{Reason, Status};
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Pipeline;
use super::target::Target;
use crate::errors;

/// `fieldValidation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validation {
    Ignore,
    Warn,
    Strict,
}

impl Validation {
    /// Of a directive that was checked.
    pub(super) fn of(directive: &str) -> Self {
        match directive {
            "Ignore" => Self::Ignore,
            "Strict" => Self::Strict,
            _ => Self::Warn,
        }
    }
}

/// 400 for a document that cannot be decoded.
pub(super) fn unreadable(target: &Target, what: &str) -> Status {
    let (kind, version) = (&target.descriptor.kind, &target.version);
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {what}"))
}

/// What strict decoding has to say of a document.
#[derive(Default)]
struct Found {
    warnings: Vec<String>,
    fatal: Option<String>,
    /// Paths of fields that the schema does not know, whatever is asked to be told.
    undeclared: Vec<String>,
    /// The kind itself said so, and sees itself to what becomes of such fields.
    is_own: bool,
}

/// Fields that a kind does not declare can have no owner: such a configuration is not applied.
fn undeclared(target: &Target, paths: &[String]) -> Status {
    let told: Vec<String> = paths.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
    let why = match told.as_slice() {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    untyped(target, &why)
}

/// A configuration that the kind's schema does not fit.
pub(super) fn untyped(target: &Target, why: &str) -> Status {
    let name = match target.namespace.as_str() {
        "" => target.name.clone(),
        namespace => format!("{namespace}/{}", target.name),
    };
    let version = target.api_version();
    // Go writes the core group's empty name before the version.
    let version = if version.contains('/') { version } else { format!("/{version}") };
    let kind = &target.descriptor.kind;
    // Kubernetes has no reason for it.
    Status::new(Reason::Unknown, format!("failed to create typed patch object ({name}; {version}, Kind={kind}): {why}"))
}

impl Pipeline {
    /// Checks the shape of a body that a client sent whole, and leaves out of it what the kind does not have. Returns
    /// warnings; none of what `present`, the object as it is,
    /// has already: who reads an object and sends it back has added nothing.
    ///
    /// # Errors
    /// `BadRequest` for values of the wrong type, and under `Strict` for unknown and duplicate fields.
    pub(super) fn check_body(
        &self,
        target: &Target,
        schema_name: &str,
        value: &mut Value,
        duplicates: Vec<String>,
        validation: Validation,
        present: impl FnOnce() -> Option<Value>,
    ) -> Result<Vec<String>, Status> {
        let Found { mut warnings, fatal, undeclared, is_own } = self.problems(target, schema_name, value, duplicates, validation);
        self.leave_out_known(target, schema_name, &mut warnings, present);
        let refuse = |what: &str| unreadable(target, what);
        if let Some(fatal) = fatal {
            return Err(refuse(&fatal));
        }
        match validation {
            Validation::Strict if !warnings.is_empty() => Err(refuse(&format!("strict decoding error: {}", warnings.join(", ")))),
            _ => {
                if !undeclared.is_empty() && !is_own {
                    schema::prune(&self.registry.schemas(), schema_name, value);
                }
                Ok(warnings)
            }
        }
    }

    /// The same for what is applied. Nobody can own a field that the schema does not know, so none is taken.
    ///
    /// # Errors
    /// `BadRequest` for values of the wrong type, 500 without a reason, as Kubernetes has it, for unknown fields.
    pub(super) fn check_applied(
        &self,
        target: &Target,
        value: &Value,
        duplicates: Vec<String>,
        validation: Validation,
    ) -> Result<Vec<String>, Status> {
        let found = self.problems(target, target.schema(), value, duplicates, validation);
        match (found.fatal, found.undeclared.as_slice()) {
            (Some(fatal), _) => Err(unreadable(target, &fatal)),
            (None, []) => Ok(found.warnings),
            (None, paths) => Err(undeclared(target, paths)),
        }
    }

    /// The same for the outcome of a patch: Kubernetes answers 422 there.
    pub(super) fn check_patched(
        &self,
        target: &Target,
        value: &mut Value,
        duplicates: Vec<String>,
        patch: &Value,
        validation: Validation,
        present: impl FnOnce() -> Option<Value>,
    ) -> Result<Vec<String>, Status> {
        let Found { mut warnings, fatal, undeclared, is_own } =
            self.problems(target, target.schema(), value, duplicates, validation);
        self.leave_out_known(target, target.schema(), &mut warnings, present);
        let refuse = |what: &str| {
            let message = format!("Invalid value: {:?}: {what}", patch.to_string());
            let mut status = Status::new(Reason::Invalid, format!(" \"\" is invalid: patch: {message}"));
            status.details.causes = vec![Cause { reason: "FieldValueInvalid".to_owned(), message, field: "patch".to_owned() }];
            status
        };
        if let Some(fatal) = fatal {
            return Err(refuse(&fatal));
        }
        match validation {
            Validation::Strict if !warnings.is_empty() => Err(refuse(&format!("strict decoding error: {}", warnings.join(", ")))),
            _ => {
                if !undeclared.is_empty() && !is_own {
                    schema::prune(&self.registry.schemas(), target.schema(), value);
                }
                Ok(warnings)
            }
        }
    }

    /// The same for what admission from outside made of a document: it is decoded anew. A new object may have got another
    /// name, and the target of that name is returned then.
    ///
    /// # Errors
    /// `InternalError` for what is no such object any more: the client has not sent it.
    pub(super) fn check_mutated(&self, target: &Target, value: &mut Value) -> Result<Option<Target>, Status> {
        let wrong = |status: Status| Status::internal(format!("what admission made of the object: {}", status.message));
        let anywhere = Target { name: String::new(), ..target.clone() };
        super::metadata::fit_to_target(value, &anywhere).map_err(wrong)?;
        self.check_body(target, target.schema(), value, Vec::new(), Validation::Ignore, || None).map_err(wrong)?;
        let name = super::metadata::text(value, "name");
        if name.is_empty() {
            return Err(wrong(Status::bad_request("it has no name")));
        }
        Ok((name != target.name).then(|| Target { name: name.to_owned(), ..anywhere }))
    }

    fn leave_out_known(
        &self,
        target: &Target,
        schema_name: &str,
        warnings: &mut Vec<String>,
        present: impl FnOnce() -> Option<Value>,
    ) {
        if warnings.is_empty() {
            return;
        }
        if let Some(present) = present() {
            let known = self.problems(target, schema_name, &present, Vec::new(), Validation::Warn);
            warnings.retain(|warning| !known.warnings.contains(warning));
        }
    }

    fn problems(
        &self,
        target: &Target,
        schema_name: &str,
        value: &Value,
        duplicates: Vec<String>,
        validation: Validation,
    ) -> Found {
        let schemas = self.registry.schemas();
        let mut found = Found::default();
        let own = if *target.descriptor.schema == *schema_name { target.descriptor.strategy.problems(value) } else { None };
        found.is_own = own.is_some();
        for problem in own.unwrap_or_else(|| schema::check(&schemas, schema_name, value)) {
            if problem.is_fatal() {
                found.fatal.get_or_insert(problem.to_string());
            } else if validation != Validation::Ignore {
                found.warnings.push(problem.to_string());
            }
            if let Problem::Unknown(path) = problem {
                found.undeclared.push(path);
            }
        }
        if validation != Validation::Ignore {
            found.warnings.extend(duplicates.into_iter().map(|path| Problem::Duplicate(path).to_string()));
        }
        found
    }

    /// Leaves out what nobody can tell from absent, and fills in the schema's constant defaults and then the kind's own.
    pub(super) fn apply_defaults(&self, target: &Target, value: &mut Value) {
        if target.descriptor.custom.is_none() {
            // Through `status` nobody writes the spec, which has its defaults.
            let spec = value.as_object_mut().filter(|_| target.subresource == "status").and_then(|fields| fields.remove("spec"));
            crate::protobuf::leave_out(&target.descriptor.schema, value);
            schema::apply_defaults(&self.registry.schemas(), &target.descriptor.schema, value);
            if let (Some(spec), Some(fields)) = (spec, value.as_object_mut()) {
                fields.insert("spec".to_owned(), spec);
            }
        }
        target.descriptor.strategy.default(value);
    }

    /// All that is wrong with a document that is to be stored.
    pub(super) fn validate_document(&self, target: &Target, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        let descriptor = &target.descriptor;
        let strategy = &descriptor.strategy;
        let mut causes = validate_metadata(object, descriptor.scope, strategy.name_rule());
        if descriptor.custom.is_some() || &*descriptor.group == mizzen_extensions::definition::GROUP {
            // Only Kubernetes' own kinds want every finalizer to be qualified by a domain.
            causes
                .retain(|cause| !(cause.field.starts_with("metadata.finalizers") && cause.message.ends_with("fully qualified")));
        }
        causes.extend(old.into_iter().flat_map(|old| validate_metadata_update(object, old)));
        let check = || match (target.subresource.as_str(), old) {
            (_, None) => strategy.validate_new(object),
            // Binding changes what an update may not.
            ("binding", _) => strategy.validate(object),
            ("" | "scale", Some(old)) => strategy.validate_replacement(object, old),
            (subresource, Some(old)) => strategy.validate_subresource_update(subresource, object, old),
        };
        causes.extend(if strategy.runs_rules() { beside_others(check) } else { check() });
        if causes.is_empty() {
            return Ok(());
        }
        Err(errors::invalid(descriptor, super::metadata::text(object, "name"), causes))
    }
}

/// Lets the executor's other tasks go on in another thread while this one works. Where there is one thread only (tests),
/// they wait.
fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
