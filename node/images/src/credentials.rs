//! Who we are at a registry.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        username: String,
        password: String,
    },
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
}

impl Credentials {
    /// The entry of a `.dockerconfigjson` whose key is the longest that covers the image of a normalised reference.
    pub fn find(config: &[u8], reference: &str) -> Option<Self> {
        let config: DockerConfig = serde_json::from_slice(config).ok()?;
        let key = config.auths.keys().filter(|key| covers(key, reference)).max_by_key(|key| key.len())?;
        let entry = config.auths.get(key)?;
        if !entry.username.is_empty() {
            return Some(Self::Basic { username: entry.username.clone(), password: entry.password.clone() });
        }
        let decoded = String::from_utf8(STANDARD.decode(&entry.auth).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some(Self::Basic { username: username.to_owned(), password: password.to_owned() })
    }
}

/// As the kubelet has it: another port is another registry, and `*` stands for any letters of one label of the host.
fn covers(key: &str, reference: &str) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let key = if key == "index.docker.io" { "docker.io" } else { key };
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let Some((asked, image)) = reference.split_once('/') else { return false };
    let below = |rest: &str| path.is_empty() || rest.starts_with(['/', ':', '@']);
    is_host(host, asked) && image.strip_prefix(path).is_some_and(below)
}

fn is_host(pattern: &str, host: &str) -> bool {
    let port = |host: &str| host.rsplit_once(':').map(|(_, port)| port.to_owned());
    let is_label = |(pattern, label): (&str, &str)| match pattern.split_once('*') {
        Some((before, after)) => label.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
        None => pattern == label,
    };
    pattern == host
        || pattern.contains('*')
            && port(pattern) == port(host)
            && pattern.split('.').count() == host.split('.').count()
            && pattern.split('.').zip(host.split('.')).all(is_label)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).field("password", &"<redacted>").finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn basic(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic { username: username.into(), password: password.into() })
    }

    #[test]
    fn the_longest_key_that_covers_the_image_wins() {
        let config = json!({"auths": {
            "127.0.0.1:5000": {"username": "a", "password": "1"},
            "127.0.0.1:5000/team": {"auth": STANDARD.encode("b:2:3")},
            "https://index.docker.io/v1/": {"username": "c", "password": "3"},
        }})
        .to_string();
        let find = |reference: &str| Credentials::find(config.as_bytes(), reference);
        assert_eq!(find("127.0.0.1:5000/app:1"), basic("a", "1"));
        assert_eq!(find("127.0.0.1:5000/team/app:1"), basic("b", "2:3"));
        assert_eq!(find("127.0.0.1:5000/teams/app:1"), basic("a", "1"));
        assert_eq!(find("docker.io/library/nginx:latest"), basic("c", "3"));
        assert_eq!(find("example.com/app"), None);
        assert_eq!(Credentials::find(b"no json", "example.com/app"), None);
    }

    #[test]
    fn a_key_is_for_its_host_its_port_and_what_is_below_its_path() {
        for (key, reference) in [
            ("r.example", "r.example/app:1"),
            ("r.example:5000", "r.example:5000/app:1"),
            ("r.example/team/app", "r.example/team/app:1"),
            ("r.example/team/app", "r.example/team/app@sha256:00"),
            ("https://r.example/v2/", "r.example/app"),
            ("*.r.example", "a.r.example/app"),
            ("a*c.r.example/team", "abc.r.example/team/app"),
            ("*.r.example:5000", "a.r.example:5000/app"),
            ("*:5000", "localhost:5000/app"),
        ] {
            assert!(covers(key, reference), "{key} {reference}");
        }
        for (key, reference) in [
            ("r.example", "r.example:5000/app:1"),
            ("r.example:5000", "r.example/app:1"),
            ("r.example", "r.example.evil/app"),
            ("r.example/team", "r.example/teams/app"),
            ("*.r.example", "r.example/app"),
            ("*.r.example", "a.b.r.example/app"),
            ("*.r.example", "a.r.example:5000/app"),
            ("*", "r.example/app"),
            ("r.*", "r.example:5000/app"),
        ] {
            assert!(!covers(key, reference), "{key} {reference}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let text = format!("{:?}", Credentials::Basic { username: "ann".into(), password: "hunter2".into() });
        assert!(text.contains("ann") && !text.contains("hunter2"), "{text}");
    }
}
