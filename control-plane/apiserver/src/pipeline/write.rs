//! Requests that write, by verb.

use std::sync::Arc;

use mizzen_api::object::Encoded;
use mizzen_api::{GroupVersionResource, Object, Reason, Status, Verb};
use mizzen_client::ApiRequest;
use mizzen_store::{Compare, Txn, TxnOutcome};
use serde_json::Value;

use super::addresses::Claims;
use super::schema::Validation;
use super::target::Target;
use super::{Pipeline, Written};
use crate::admission::quota::Demand;
use crate::admission::{Attributes, Operation, Options, Warnings};
use crate::auth::Identity;
use crate::errors;
use crate::virtuals::RequestContext;

/// What goes into the transaction with an object.
#[derive(Default)]
pub(super) struct Beside<'a> {
    pub(super) demand: Option<&'a Demand<'a>>,
    pub(super) claims: Claims,
}

impl Pipeline {
    /// Any request that writes. Authorization comes first, so that nobody learns what is there.
    pub(crate) async fn write(&self, user: &Arc<Identity>, request: ApiRequest) -> Result<Written, Status> {
        let named = (request.namespace.as_str(), request.name.as_str(), request.subresource.as_str());
        let target = self.resolve(user, request.verb.as_str(), &request.resource, named)?;
        self.authorize_target(user, request.verb.as_str(), &target)?;
        target.require(request.verb)?;
        super::options::check(&request)?;
        let descriptor = &target.descriptor;
        if request.verb == Verb::Create
            && let Some(answer) = self.virtuals.find(&descriptor.group, &descriptor.resource, &target.subresource)
        {
            return self.answer(user, &target, answer.clone(), request).await;
        }
        if target.is_binding() {
            let pods = GroupVersionResource::new("", target.version.clone(), "pods");
            let pod = Target::resolve(&self.registry, &pods, &target.namespace, "", "binding")?;
            return Box::pin(self.bind(user, &pod, request)).await;
        }
        if descriptor.virtual_only {
            return Err(errors::method_not_allowed());
        }
        let request_verb = request.verb;
        let mut written = match (request_verb, target.subresource.as_str()) {
            (Verb::Create, "") => Box::pin(self.create(user, &target, request)).await,
            (Verb::Create, "binding") if target.is_pod() => Box::pin(self.bind(user, &target, request)).await,
            (Verb::Create, "eviction") if target.is_pod() => Box::pin(self.evict(user, &target, request)).await,
            (Verb::Update, "scale") => Box::pin(self.update_scale(user, &target, request)).await,
            (Verb::Patch, "scale") => Box::pin(self.patch_scale(user, &target, request)).await,
            (Verb::Update, _) => Box::pin(self.update(user, &target, request)).await,
            (Verb::Patch, _) => Box::pin(self.patch(user, &target, request)).await,
            (Verb::Delete, "") => Box::pin(self.delete(user, &target, &request.delete)).await,
            (Verb::DeleteCollection, "") => Box::pin(self.delete_collection(user, &target, &request)).await,
            _ => Err(errors::method_not_allowed()),
        }?;
        if request_verb != Verb::DeleteCollection {
            written.object = target.shown(written.object)?;
        }
        Ok(written)
    }

    async fn answer(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        answer: Arc<dyn crate::virtuals::Virtual>,
        request: ApiRequest,
    ) -> Result<Written, Status> {
        let validation = Validation::of(&request.write.field_validation);
        let parsed = super::body::read(request.body).await?;
        let mut body = parsed.value;
        // What answers relies on the shape of the body.
        let own_schema;
        let schema = match target.descriptor.subresource(&target.subresource).and_then(|found| found.kind.as_ref()) {
            None => {
                super::metadata::fit_to_target(&mut body, target)?;
                &**target.schema()
            }
            Some(kind) => {
                super::metadata::of(&mut body)?;
                body["apiVersion"] = Value::String(kind.group_version().to_string());
                body["kind"] = Value::String(kind.kind.to_string());
                let package = kind.group.split('.').next().unwrap_or_default();
                own_schema = format!("io.k8s.api.{package}.{}.{}", kind.version, kind.kind);
                &*own_schema
            }
        };
        let warnings = self.check_body(target, schema, &mut body, parsed.duplicates, validation, || None)?;
        let admission_warnings = Warnings::default();
        let attributes = Attributes {
            dry_run: request.write.dry_run,
            options: Options::Write(&request.write),
            ..self.attributes(user, Operation::Create, target, &admission_warnings)
        };
        if target.subresource == "token" {
            self.admission.validate_token_request(&attributes, &body).await?;
        }
        let before = body.clone();
        let admitted = self.admission.admit_question(&attributes, &mut body).await;
        let warnings = [warnings, admission_warnings.take()].concat();
        if let Err(status) = admitted {
            return Err(status.warned(warnings));
        }
        if body != before {
            self.check_body(target, schema, &mut body, Vec::new(), Validation::Ignore, || None)?;
        }
        let context = RequestContext {
            identity: user.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            dry_run: request.write.dry_run,
        };
        let value = answer.create(context, body).await?;
        Ok(Written { code: 201, object: Arc::new(unstored(&value)?), warnings, deleted: false })
    }

    /// Puts one object if its key is still at `expected` (0: absent). `None` when it is not.
    pub(super) async fn put(&self, key: &str, expected: u64, value: Value) -> Result<Option<Arc<Object>>, Status> {
        self.put_beside(key, expected, value, Beside::default()).await
    }

    /// Like [`put`](Self::put), in one transaction with what quotas are charged for it and what is claimed for it. Where
    /// another write was charged first, what that one left decides. `None` also when another has one of the claims.
    pub(super) async fn put_beside(
        &self,
        key: &str,
        expected: u64,
        value: Value,
        beside: Beside<'_>,
    ) -> Result<Option<Arc<Object>>, Status> {
        if super::body::is_too_deep(&value) {
            return Err(Status::bad_request("the object is nested too deep"));
        }
        let encoded = Encoded::from_value(value).ok_or_else(without_metadata)?;
        self.put_encoded(key, expected, encoded, beside).await
    }

    /// The same where the document is encoded already.
    pub(super) async fn put_encoded(
        &self,
        key: &str,
        expected: u64,
        encoded: Encoded,
        beside: Beside<'_>,
    ) -> Result<Option<Arc<Object>>, Status> {
        if encoded.bytes.len() > super::body::MAX_BYTES {
            let size = encoded.bytes.len();
            let why =
                format!("Request entity too large: the object would be {size} bytes, the limit is {}", super::body::MAX_BYTES);
            return Err(Status::new(Reason::RequestEntityTooLarge, why));
        }
        loop {
            let charge = beside.demand.map(Demand::charge).transpose()?.unwrap_or_default();
            let claims = beside.claims.clone();
            let mut txn = Txn {
                compares: vec![Compare { key: key.to_owned(), revision: expected }],
                puts: vec![(key.to_owned(), encoded.clone())],
                deletes: claims.deletes,
            };
            txn.compares.extend(charge.compares.into_iter().chain(claims.compares));
            txn.puts.extend(charge.puts.into_iter().chain(claims.puts));
            match self.store.txn(txn).await.map_err(errors::store)? {
                TxnOutcome::Applied { objects, .. } => match objects.into_iter().next() {
                    Some(object) => return Ok(Some(object)),
                    None => return Err(Status::internal("the store answered a put without the object")),
                },
                TxnOutcome::Conflict { key: changed, .. } if changed == key || beside.claims.depend_on(&changed) => {
                    return Ok(None);
                }
                // Somebody else's charge went through, so that all together get on.
                TxnOutcome::Conflict { .. } => {}
            }
        }
    }

    /// Removes one object if its key is still at `expected`. Gives its last state with the deletion's revision.
    /// What was claimed for it is let go in the same transaction.
    pub(super) async fn remove(&self, key: &str, current: &Arc<Object>, claims: Claims) -> Result<Option<Arc<Object>>, Status> {
        let mut txn = Txn { compares: claims.compares, puts: claims.puts, deletes: claims.deletes };
        txn.compares.push(Compare { key: key.to_owned(), revision: current.revision() });
        txn.deletes.push(key.to_owned());
        match self.store.txn(txn).await.map_err(errors::store)? {
            TxnOutcome::Applied { revision, .. } => Ok(Some(crate::scan::at_revision(current, revision))),
            TxnOutcome::Conflict { .. } => Ok(None),
        }
    }

    /// The present object of a target.
    pub(super) fn current(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.store.get(&target.key()).ok_or_else(|| Status::not_found(&target.group_resource(), &target.name))
    }
}

pub(super) fn without_metadata() -> Status {
    Status::internal("a document without metadata cannot be stored")
}

/// A document that no store holds: a dry run's outcome, a review's answer.
pub(super) fn unstored(value: &Value) -> Result<Object, Status> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| Status::new(Reason::InternalError, format!("encode the answer: {error}")))?;
    Ok(Object::new(bytes, 0))
}

/// # Errors
/// When stored bytes are not JSON, which the store never holds.
pub(super) fn decoded(object: &Object) -> Result<Value, Status> {
    object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))
}
