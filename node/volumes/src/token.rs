//! Service account tokens for pods, bound to the pod and renewed before they end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mizzen_api::GroupVersionResource;
use mizzen_client::{ApiRequest, ApiResponse, Client};
use parking_lot::Mutex;
use serde_json::json;

use crate::{PodContext, VolumeError};

struct Token {
    text: String,
    /// When a new one is asked for: after 80 % of its life, or a day.
    renew: Instant,
}

/// By pod uid, audience and lifetime.
#[derive(Default)]
pub(crate) struct Tokens {
    held: Mutex<HashMap<(String, String, i64), Token>>,
}

impl Tokens {
    /// A token that is good for a while yet. An old one is used when no new one can be had.
    pub(crate) async fn get(
        &self,
        client: &dyn Client,
        pod: &PodContext<'_>,
        audience: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<String, VolumeError> {
        let seconds = seconds.unwrap_or(3600);
        let key = (pod.uid().to_owned(), audience.unwrap_or_default().to_owned(), seconds);
        let held = self.held.lock().get(&key).map(|token| (token.text.clone(), token.renew));
        if let Some((text, renew)) = &held
            && Instant::now() < *renew
        {
            return Ok(text.clone());
        }
        match request(client, pod, audience, seconds).await {
            // Asked for again as soon as possible: it may have ended while the server was away.
            Ok((text, true)) => {
                self.held.lock().insert(key, Token { text: text.clone(), renew: Instant::now() });
                Ok(text)
            }
            Ok((text, false)) => {
                let life = Duration::from_secs(u64::try_from(seconds).unwrap_or(3600));
                let renew = Instant::now() + life.mul_f64(0.8).min(Duration::from_secs(86_400));
                self.held.lock().insert(key, Token { text: text.clone(), renew });
                Ok(text)
            }
            Err(error) => held.map(|(text, _)| text).ok_or(error),
        }
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.held.lock().retain(|(owner, _, _), _| owner != uid);
    }
}

/// The token, and whether it is one that was remembered of before.
async fn request(
    client: &dyn Client,
    pod: &PodContext<'_>,
    audience: Option<&str>,
    seconds: i64,
) -> Result<(String, bool), VolumeError> {
    let account = pod.service_account();
    let audiences: Vec<&str> = audience.filter(|audience| !audience.is_empty()).into_iter().collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences, "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()},
        },
    });
    let resource = GroupVersionResource::new("", "v1", "serviceaccounts");
    let mut request = ApiRequest::create(&resource, pod.namespace(), body).subresource("token");
    account.clone_into(&mut request.name);
    let failed = |status| VolumeError::Api {
        operation: "request a token of",
        kind: "serviceaccount",
        name: account.to_owned(),
        status: Box::new(status),
    };
    let response = client.write(request).await.map_err(failed)?;
    let decode = |source| VolumeError::Decode { kind: "TokenRequest", name: account.to_owned(), source };
    let value = response.object.value().map_err(decode)?;
    match value.pointer("/status/token").and_then(|token| token.as_str()) {
        Some(token) => Ok((token.to_owned(), response.code == ApiResponse::REMEMBERED)),
        None => Err(VolumeError::NotFound { kind: "token of serviceaccount", name: account.to_owned() }),
    }
}
