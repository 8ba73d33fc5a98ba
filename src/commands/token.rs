//! `mizzen token`: by what machines join a cluster (docs/joining.md).

use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use mizzen_reconcile::{Clock as _, SystemClock};
use rand::Rng as _;
use serde_json::{Value, json};

use crate::client::failure::{is_not_found, print};
use crate::client::session::{Connection, Session, escape, with_query};
use crate::cluster::joining::cluster_info;
use crate::cluster::joining::token::{JoinToken, bootstrap_token, fingerprint};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const PREFIX: &str = "bootstrap-token-";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token and print it: whoever has it may bring machines into the cluster
    Create {
        /// How long it holds, such as 30m or 24h; 0 for ever
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        ttl: String,
        /// What people are told of it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Print the whole command for the machine that is to join
        #[arg(long)]
        print_join_command: bool,
    },
    /// Show the tokens, without their secrets
    List,
    /// Take tokens back: nobody joins by them any more; nodes that did stay
    Revoke {
        /// The token, or its id as `mizzen token list` shows it
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

pub async fn run(args: Args) -> ExitCode {
    args.connection
        .run(async |session| match &args.command {
            Command::Create { ttl, description, print_join_command } => {
                create(session, ttl, description, *print_join_command).await
            }
            Command::List => list(session).await,
            Command::Revoke { tokens } => revoke(session, tokens).await,
        })
        .await
}

async fn create(session: &Session, ttl: &str, description: &str, print_join_command: bool) -> anyhow::Result<ExitCode> {
    let until = expiration(ttl, SystemClock.now())?;
    let info = session.get(&cluster_info::path()).await.context("find the cluster's authority")?;
    let info = serde_json::to_vec(&info)?;
    let root = cluster_info::authority(&info).context("the ConfigMap kube-public/cluster-info names no authority")?;
    let (id, secret) = (random(6), random(16));
    let token = JoinToken::new(fingerprint(&root)?, id.clone(), secret.clone());
    let mut data = json!({"token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true"});
    if !description.is_empty() {
        data["description"] = json!(description);
    }
    if let Some(until) = until {
        data["expiration"] = json!(until.to_string());
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": TYPE, "stringData": data,
        "metadata": {"name": format!("{PREFIX}{id}"), "namespace": "kube-system"},
    });
    session.put(Method::POST, SECRETS, "application/json", &object).await?;
    if !print_join_command {
        print(format!("{token}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let server = cluster_info::server(&info).unwrap_or_else(|| format!("https://{}", session.server));
    if ["https://127.", "https://localhost", "https://[::1]"].iter().any(|local| server.starts_with(local)) {
        eprintln!("mizzen: {server} is good on this machine only: `mizzen server --api-address 0.0.0.0:6443` listens for others");
    }
    print(format!("mizzen agent --server {server} --token {token}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// `None` for a token without an end.
fn expiration(ttl: &str, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
    if ttl.trim() == "0" {
        return Ok(None);
    }
    let duration = ttl.parse::<SignedDuration>().ok().filter(|duration| !duration.is_negative());
    let Some(duration) = duration else { bail!("--ttl {ttl:?} is no duration such as 30m or 24h") };
    if duration.is_zero() {
        return Ok(None);
    }
    let until = now.checked_add(duration).with_context(|| format!("--ttl {ttl:?} is too long"))?;
    Ok(Some(Timestamp::from_second(until.as_second())?))
}

fn random(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // From the operating system's randomness: this is a secret.
    let mut random = rand::rng();
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

async fn list(session: &Session) -> anyhow::Result<ExitCode> {
    let selector = format!("type={TYPE}");
    let found = session.get(&with_query(SECRETS, &[("fieldSelector", selector.as_str())])).await?;
    let items = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        eprintln!("No tokens found");
        return Ok(ExitCode::SUCCESS);
    }
    let now = SystemClock.now();
    let mut rows = vec![["ID", "TTL", "EXPIRES", "DESCRIPTION"].map(str::to_owned)];
    rows.extend(items.iter().map(|secret| row(secret, now)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    let line = |row: &[String; 4]| {
        let [id, ttl, expires, description] = row;
        let [first, second, third] = widths;
        format!("{id:first$}   {ttl:second$}   {expires:third$}   {description}").trim_end().to_owned() + "\n"
    };
    print(rows.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn row(secret: &Value, now: Timestamp) -> [String; 4] {
    let text = |key: &str| {
        let decoded = secret["data"][key].as_str().and_then(|data| STANDARD.decode(data).ok());
        decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let expires = text("expiration");
    let ttl = match expires.parse::<Timestamp>() {
        Err(_) if expires.is_empty() => "<forever>".to_owned(),
        Err(_) => "<invalid>".to_owned(),
        Ok(until) if until <= now => "<expired>".to_owned(),
        Ok(until) => short(until.duration_since(now)),
    };
    let expires = if expires.is_empty() { "<never>".to_owned() } else { expires };
    [text("token-id"), ttl, expires, text("description")]
}

/// The two largest units, as `1d3h`, `23h59m`, `4m10s`.
fn short(left: SignedDuration) -> String {
    let seconds = left.as_secs();
    match seconds {
        86_400.. => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
        3600.. => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

async fn revoke(session: &Session, tokens: &[String]) -> anyhow::Result<ExitCode> {
    for text in tokens {
        let id = id_of(text)?;
        let path = format!("{SECRETS}/{PREFIX}{}", escape(&id));
        let gone = session.put(Method::DELETE, &path, "application/json", &json!({})).await;
        match gone {
            Ok(_) => print(format!("token {id:?} revoked\n"))?,
            Err(error) if is_not_found(&error) => bail!("there is no token {id:?}: it has expired or was revoked before"),
            Err(error) => return Err(error),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn id_of(text: &str) -> anyhow::Result<String> {
    if let Ok(token) = text.parse::<JoinToken>() {
        return Ok(token.id().to_owned());
    }
    if let Some((id, _)) = bootstrap_token(text) {
        return Ok(id.to_owned());
    }
    let is_id = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if is_id { Ok(text.to_owned()) } else { bail!("{text:?} is neither a token nor the id of one (`mizzen token list`)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_when_its_time_is_over_or_never() {
        let now: Timestamp = "2026-11-22T08:00:00.5Z".parse().expect("is a time");
        assert_eq!(
            expiration("30m", now).expect("is valid").map(|until| until.to_string()).as_deref(),
            Some("2026-11-22T08:30:00Z")
        );
        assert_eq!(expiration("0", now).expect("is valid"), None);
        for wrong in ["soon", "-1h", ""] {
            assert!(expiration(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_shown_with_what_is_left_of_it_and_without_its_secret() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().expect("is a time");
        let secret = |expiration: &str| {
            let encoded = |text: &str| json!(STANDARD.encode(text));
            json!({"data": {"token-id": encoded("abcdef"), "token-secret": encoded("0123456789abcdef"),
                "expiration": encoded(expiration), "description": encoded("for the roof")}})
        };
        assert_eq!(row(&secret("2026-11-23T11:30:00Z"), now), ["abcdef", "1d3h", "2026-11-23T11:30:00Z", "for the roof"]);
        assert_eq!(row(&secret("2026-11-22T08:04:10Z"), now)[1], "4m10s");
        assert_eq!(row(&secret("2026-11-22T07:59:59Z"), now)[1], "<expired>");
        assert_eq!(row(&secret(""), now)[1..3], ["<forever>", "<never>"]);
    }

    #[test]
    fn a_token_is_named_whole_or_by_its_id() {
        let whole = format!("K10{}::abcdef.0123456789abcdef", "0".repeat(64));
        for text in [whole.as_str(), "abcdef.0123456789abcdef", "abcdef"] {
            assert_eq!(id_of(text).expect("names one"), "abcdef");
        }
        assert!(id_of("../pods").is_err());
    }
}
