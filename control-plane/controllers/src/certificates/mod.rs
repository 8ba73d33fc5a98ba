//! CertificateSigningRequests: approves those of nodes for themselves, signs what is approved for the signers of
//! Kubernetes' own, and removes what nobody needs any more.

mod approve;
mod checks;
mod expire;
mod sign;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use mizzen_api::ObjectRef;
use mizzen_api::x509::CertificateRequest;
use mizzen_client::{Client, DeleteOptions};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::context::Context;
use crate::time::whole_seconds;

const NAME: &str = "certificate-controller";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Signs with the cluster's authority: a request, its usages, how long and from when. Answers PEM, or why not.
pub type SignCertificate =
    Arc<dyn Fn(&CertificateRequest, &[String], SignedDuration, Timestamp) -> Result<String, String> + Send + Sync>;

/// How certificates are given.
#[derive(Clone)]
pub struct Certification {
    pub sign: SignCertificate,
    /// The longest that a certificate is valid, and how long one is that asks for no time.
    pub longest: SignedDuration,
    /// The API server's own DNS names: no node gets a serving certificate for one unseen.
    pub reserved: Vec<String>,
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let requests = WatchCache::objects(WatchSpec::all(typed::gvr::<CertificateSigningRequest>()))
        .start(client.clone(), context.cancel.clone());
    requests.enqueue(&queue);
    let Certification { sign, longest, reserved } = context.certification.clone();
    let clock = context.clock.clone();
    let certificates = Certificates { client, requests, clock, sign, longest, reserved };
    context.run(Controller::new("certificate", queue, Arc::new(certificates)));
}

struct Certificates {
    client: Arc<dyn Client>,
    requests: Arc<WatchCache>,
    clock: Arc<dyn Clock>,
    sign: SignCertificate,
    longest: SignedDuration,
    reserved: Vec<String>,
}

#[async_trait]
impl Reconciler for Certificates {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(stored) = self.requests.get(&key) else { return Ok(Action::Done) };
        let request = typed::view::<CertificateSigningRequest>(&stored)?;
        let now = self.clock.now();
        let due = expire::due(&request);
        if due.is_some_and(|due| due <= now) {
            let options = DeleteOptions { uid: Some(stored.head().uid.clone()), ..DeleteOptions::default() };
            typed::delete::<CertificateSigningRequest>(self.client.as_ref(), "", &key.name, options).await?;
            return Ok(Action::Done);
        }
        if !has_certificate(&request) {
            let is = |kind: &str| condition(&request, kind).is_some();
            if !is("Approved") && !is("Denied") {
                self.approve(&stored, &request).await?;
            } else if is("Approved") && !is("Denied") && !is("Failed") {
                self.sign(&stored, &request).await?;
            }
        }
        let wait = due.and_then(|due| now.until(due).ok()).and_then(|span| SignedDuration::try_from(span).ok());
        let wait = wait.and_then(|wait| std::time::Duration::try_from(wait).ok());
        Ok(wait.map_or(Action::Done, Action::RequeueAfter))
    }
}

/// The time of a condition that holds.
fn condition(request: &CertificateSigningRequest, kind: &str) -> Option<Option<Timestamp>> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")?;
    Some(found.last_update_time.as_ref().map(|time| time.0))
}

fn has_certificate(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

/// What is written into a request to say how it stands.
fn say(document: &mut Value, (kind, reason, message): (&str, &str, &str), now: Timestamp) {
    let now = whole_seconds(now).to_string();
    let said = json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now});
    let Some(status) = document.as_object_mut().map(|document| document.entry("status").or_insert_with(|| json!({}))) else {
        return;
    };
    let conditions = status.as_object_mut().map(|status| status.entry("conditions").or_insert_with(|| json!([])));
    if let Some(conditions) = conditions.and_then(Value::as_array_mut) {
        conditions.push(said);
    }
}
