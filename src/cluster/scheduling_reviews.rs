//! `SchedulingReview` of `mizzen.dev`: the API's question, the scheduler's answer.

use async_trait::async_trait;
use mizzen_api::{GroupResource, Reason, Status};
use mizzen_apiserver::{RequestContext, Virtual};
use mizzen_scheduler::explain::{ExplainError, Explainer};
use serde_json::Value;

pub struct SchedulingReviews(pub Explainer);

#[async_trait]
impl Virtual for SchedulingReviews {
    async fn create(&self, context: RequestContext, mut body: Value) -> Result<Value, Status> {
        let name = body.pointer("/spec/podName").and_then(Value::as_str).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Status::bad_request("spec.podName: Required value"));
        }
        let explained = self.0.explain(&context.namespace, &name).await.map_err(|error| status(&error, &name))?;
        body["status"] = serde_json::to_value(explained).map_err(|error| Status::internal(error.to_string()))?;
        Ok(body)
    }
}

fn status(error: &ExplainError, pod: &str) -> Status {
    match error {
        ExplainError::NotFound => Status::not_found(&GroupResource::new("", "pods"), pod),
        ExplainError::NotOurs(_) => Status::bad_request(error.to_string()),
        ExplainError::NotRunning => Status::new(Reason::ServiceUnavailable, error.to_string()),
        ExplainError::Busy => {
            let mut status = Status::new(Reason::TooManyRequests, error.to_string());
            status.details.retry_after_seconds = Some(1);
            status
        }
        ExplainError::Api(_) | ExplainError::Failed(_) => Status::internal(error.to_string()),
    }
}
