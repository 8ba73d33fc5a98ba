//! How the pipeline reaches authentication, reviews and tokens.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use mizzen_api::Status;
use serde_json::Value;

use super::Identity;
use super::authenticator::Authenticator;
use super::reviews::Reviews;
use super::token_request::TokenRequests;
use crate::authenticate::{Authenticate, Peer};
use crate::virtuals::{RequestContext, Virtual, Virtuals};

impl Authenticate for Authenticator {
    fn authenticate(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        self.identify(peer, headers)
    }

    fn keys(&self) -> Option<Value> {
        Some(self.jwks())
    }
}

#[async_trait]
impl Virtual for TokenRequests {
    async fn create(&self, context: RequestContext, body: Value) -> Result<Value, Status> {
        Self::create(self, &context.namespace, &context.name, body)
    }
}

type Answer = fn(&Reviews, &RequestContext, Value) -> Result<Value, Status>;

/// One kind of review.
struct Review {
    reviews: Arc<Reviews>,
    answer: Answer,
}

#[async_trait]
impl Virtual for Review {
    async fn create(&self, context: RequestContext, body: Value) -> Result<Value, Status> {
        (self.answer)(&self.reviews, &context, body)
    }
}

const REVIEWS: &[(&str, &str, Answer)] = &[
    ("authorization.k8s.io", "subjectaccessreviews", |reviews, context, body| reviews.subject_access(&context.namespace, body)),
    ("authorization.k8s.io", "localsubjectaccessreviews", |reviews, context, body| {
        reviews.subject_access(&context.namespace, body)
    }),
    ("authorization.k8s.io", "selfsubjectaccessreviews", |reviews, context, body| reviews.self_access(&context.identity, body)),
    ("authorization.k8s.io", "selfsubjectrulesreviews", |reviews, context, body| reviews.self_rules(&context.identity, body)),
    ("authentication.k8s.io", "selfsubjectreviews", |_, context, body| Ok(Reviews::who_am_i(&context.identity, body))),
    ("authentication.k8s.io", "tokenreviews", |reviews, _, body| reviews.token(body)),
];

/// Every answered resource of this module.
pub fn virtuals(reviews: Arc<Reviews>, tokens: Arc<TokenRequests>) -> Virtuals {
    let virtuals = Virtuals::default().with("", "serviceaccounts", "token", tokens);
    REVIEWS.iter().fold(virtuals, |virtuals, (group, resource, answer)| {
        virtuals.with(group, resource, "", Arc::new(Review { reviews: reviews.clone(), answer: *answer }))
    })
}
