//! What the API says of users and of what they may, kept for a while, so that scrapers do not cost it two reviews each time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mizzen_api::{GroupVersionResource, Status};
use mizzen_client::ApiRequest;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::caller::User;
use crate::shared::Shared;

/// How long a yes holds; the kubelet keeps who somebody is for two minutes, and what they may for five.
const YES: SignedDuration = SignedDuration::from_secs(60);
/// How long a no holds.
const NO: SignedDuration = SignedDuration::from_secs(10);
/// More than these are not remembered: whoever makes up tokens fills nothing.
const MOST: usize = 1024;
/// Of these, as many may be a no, so that made-up tokens leave room for those that are somebody's.
const MOST_REFUSED: usize = MOST / 2;
/// Questions to the API at a time; others wait.
const ASKED_AT_ONCE: usize = 16;

pub(in crate::node_api) struct Decisions {
    shared: Arc<Shared>,
    /// By the hash of the token: no secret stays in memory, and no long one takes any.
    users: Remembered<String, Option<User>>,
    allowed: Remembered<(User, &'static str, &'static str), bool>,
    asking: Semaphore,
}

impl Decisions {
    pub(in crate::node_api) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, users: Remembered::default(), allowed: Remembered::default(), asking: Semaphore::new(ASKED_AT_ONCE) }
    }

    /// Whose the token is; `None` when it is nobody's.
    pub(super) async fn user(&self, token: &str) -> Result<Option<User>, Status> {
        let key = mizzen_images::sha256(token.as_bytes());
        if let Some(known) = self.users.get(&key, self.shared.now()) {
            return Ok(known);
        }
        let status = self.review("authentication.k8s.io", "tokenreviews", json!({"token": token})).await?;
        let user = (status["authenticated"] == true).then(|| User::read(&status["user"]));
        self.users.keep(key, user.clone(), self.shared.now(), user.is_some());
        Ok(user)
    }

    pub(super) async fn may(&self, user: &User, verb: &'static str, subresource: &'static str) -> Result<bool, Status> {
        let key = (user.clone(), verb, subresource);
        if let Some(known) = self.allowed.get(&key, self.shared.now()) {
            return Ok(known);
        }
        let mut spec = json!({
            "user": user.name, "uid": user.uid, "groups": user.groups,
            "resourceAttributes": {
                "verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource,
                "name": self.shared.node_name,
            },
        });
        if let Ok(extra) = serde_json::from_str::<Value>(&user.extra) {
            spec["extra"] = extra;
        }
        let status = self.review("authorization.k8s.io", "subjectaccessreviews", spec).await?;
        let allowed = status["allowed"] == true;
        self.allowed.keep(key, allowed, self.shared.now(), allowed);
        Ok(allowed)
    }

    async fn review(&self, group: &str, resource: &str, spec: Value) -> Result<Value, Status> {
        // It is never closed.
        let _turn = self.asking.acquire().await.map_err(Status::internal)?;
        let resource = GroupVersionResource::new(group, "v1", resource);
        let answer = self.shared.client.write(ApiRequest::create(&resource, "", json!({"spec": spec}))).await?;
        let mut review = answer.object.value().map_err(Status::internal)?;
        Ok(review["status"].take())
    }
}

struct Remembered<K, V>(Mutex<HashMap<K, (Timestamp, V)>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        self.0.lock().get(key).filter(|(until, _)| now < *until).map(|(_, value)| value.clone())
    }

    fn keep(&self, key: K, value: V, now: Timestamp, is_yes: bool) {
        let (most, holds) = if is_yes { (MOST, YES) } else { (MOST_REFUSED, NO) };
        let mut known = self.0.lock();
        if known.len() >= most {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() < most {
            known.insert(key, (now + holds, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_ends_and_is_bounded() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let remembered: Remembered<usize, bool> = Remembered::default();
        for key in 0..=MOST_REFUSED {
            remembered.keep(key, false, at(0), false);
        }
        assert_eq!((remembered.get(&0, at(9)), remembered.get(&MOST_REFUSED, at(9))), (Some(false), None));
        remembered.keep(MOST, true, at(0), true);
        assert_eq!(remembered.get(&MOST, at(59)), Some(true), "a yes has room beside them");
        assert_eq!((remembered.get(&0, at(10)), remembered.get(&MOST, at(60))), (None, None));
        remembered.keep(MOST_REFUSED, false, at(60), false);
        assert_eq!(remembered.get(&MOST_REFUSED, at(60)), Some(false), "those before have ended");
    }
}
