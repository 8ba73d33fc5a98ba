//! Bootstrap tokens: what a machine shows that is to become a node, kept as a Secret of type
//! `bootstrap.kubernetes.io/token` in `kube-system` ("Authenticating with Bootstrap Tokens" in the Kubernetes documents).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_store::Store;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Identity;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
const MAX_GROUP: usize = 256;

/// A token `id.secret`, apart; `None` when it is something else.
pub(super) fn parse(token: &str) -> Option<(&str, &str)> {
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let (id, secret) = token.split_once('.')?;
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// Who shows a token, if it holds now.
///
/// # Errors
/// The reason why it does not.
pub(super) fn identify(store: &dyn Store, (id, secret): (&str, &str), now: jiff::Timestamp) -> Result<Identity, String> {
    let name = format!("bootstrap-token-{id}");
    let object = crate::lookup::core(store, "secrets", NAMESPACE, &name).ok_or_else(|| format!("there is no secret {name}"))?;
    if object.head().is_terminating() {
        return Err(format!("the secret {name} is being deleted"));
    }
    let stored = object.value().map_err(|error| error.to_string())?;
    check(&stored, id, secret, now).map_err(|why| format!("the secret {name} {why}"))
}

fn check(stored: &Value, id: &str, secret: &str, now: jiff::Timestamp) -> Result<Identity, String> {
    let data = |key: &str| {
        let value = stored.get("data").and_then(|data| data.get(key)).and_then(Value::as_str).unwrap_or_default();
        STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    if stored.get("type").and_then(Value::as_str) != Some(TYPE) {
        return Err(format!("is not of type {TYPE}"));
    }
    // Digests are compared, so that the time it takes tells nothing of the secret.
    let own = data("token-secret");
    if own.is_empty() || Sha256::digest(&own) != Sha256::digest(secret) {
        return Err("holds another token-secret".to_owned());
    }
    if data("token-id") != id {
        return Err("holds another token-id".to_owned());
    }
    let expiration = data("expiration");
    if !expiration.is_empty() {
        let until: jiff::Timestamp = expiration.parse().map_err(|error| format!("has an unreadable expiration: {error}"))?;
        if until < now {
            return Err("has expired".to_owned());
        }
    }
    if data("usage-bootstrap-authentication") != "true" {
        return Err("is not meant for authentication".to_owned());
    }
    let extra = data("auth-extra-groups");
    let mut groups = vec![GROUP];
    for group in extra.split(',').filter(|group| !group.is_empty()) {
        if !is_group(group) {
            return Err(format!("names the group {group:?}, which does not begin with {GROUP}:"));
        }
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(Identity::component(&format!("system:bootstrap:{id}"), &groups))
}

/// `system:bootstrappers:` and lower-case letters, digits, colons and dashes, a letter or digit last.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= MAX_GROUP
        && rest.bytes().all(|byte| letter(byte) || matches!(byte, b':' | b'-'))
        && rest.bytes().last().is_some_and(letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(fields: &[(&str, &str)]) -> Value {
        let mut data = json!({});
        for (key, value) in
            [("token-id", "abcdef"), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-authentication", "true")]
                .iter()
                .chain(fields)
        {
            data[*key] = json!(STANDARD.encode(value));
        }
        json!({"type": TYPE, "data": data})
    }

    fn shown(stored: &Value) -> Result<Identity, String> {
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        check(stored, "abcdef", "0123456789abcdef", now)
    }

    #[test]
    fn a_token_stands_for_a_machine_that_is_to_become_a_node() {
        let fields =
            [("auth-extra-groups", "system:bootstrappers:edge,system:bootstrappers:a-1"), ("expiration", "2026-11-21T12:00:01Z")];
        let identity = shown(&secret(&fields)).expect("holds");
        assert_eq!(identity.username, "system:bootstrap:abcdef");
        assert_eq!(
            identity.groups,
            ["system:bootstrappers", "system:bootstrappers:edge", "system:bootstrappers:a-1", "system:authenticated"]
        );
    }

    #[test]
    fn a_token_that_is_wrong_expired_or_meant_otherwise_is_none() {
        for (fields, why) in [
            ([("token-secret", "0123456789abcdee")], "another token-secret"),
            ([("token-secret", "")], "another token-secret"),
            ([("token-id", "abcdeg")], "another token-id"),
            ([("expiration", "2026-11-21T11:59:59Z")], "has expired"),
            ([("expiration", "tomorrow")], "unreadable expiration"),
            ([("usage-bootstrap-authentication", "false")], "not meant for authentication"),
            ([("auth-extra-groups", "system:masters")], "system:masters"),
            ([("auth-extra-groups", "system:bootstrappers:")], "system:bootstrappers:"),
        ] {
            let refused = shown(&secret(&fields)).expect_err("is refused");
            assert!(refused.contains(why), "{refused}");
        }
        let mut other = secret(&[]);
        other["type"] = json!("Opaque");
        assert!(shown(&other).is_err());
    }

    #[test]
    fn a_token_is_six_and_sixteen_characters() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for other in
            ["abcde.0123456789abcdef", "abcdeF.0123456789abcdef", "abcdef.0123456789abcde", "abcdef0123456789abcdef", "a.b.c"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
