//! What of the configuration is about the audit log.

use std::path::PathBuf;

use mizzen_apiserver::audit::{Batches, LogConfig};

use super::{ConfigError, File, duration};

/// Mebibytes of one file, as in Kubernetes.
const MAX_SIZE: u64 = 100;

/// Audit events that are wanted: in a log, at a webhook, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub policy_file: PathBuf,
    pub log: Option<LogConfig>,
    pub webhook: Option<Webhook>,
}

/// A webhook that is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// A kubeconfig.
    pub file: PathBuf,
    pub batches: Batches,
}

/// # Errors
/// Names the field that is missing or wrong.
pub(super) fn resolve(file: &File) -> Result<Option<Audit>, ConfigError> {
    let invalid = |field, why: &str| Err(ConfigError::Invalid { field, why: why.to_owned() });
    let (log, webhook) = (log(file)?, webhook(file)?);
    match (&file.audit_policy_file, log, webhook) {
        (None, None, None) => Ok(None),
        (None, ..) => invalid("auditPolicyFile", "is missing: without a policy nothing is noted"),
        (Some(_), None, None) => invalid("auditLogPath", "is missing: there is nowhere to note what the policy wants"),
        (Some(policy_file), log, webhook) => Ok(Some(Audit { policy_file: policy_file.clone(), log, webhook })),
    }
}

fn log(file: &File) -> Result<Option<LogConfig>, ConfigError> {
    let invalid = |field, why: &str| Err(ConfigError::Invalid { field, why: why.to_owned() });
    let Some(path) = file.audit_log_path.clone() else {
        return match file.audit_log_max_size.is_some() || file.audit_log_max_backups.is_some() {
            true => invalid("auditLogPath", "is missing: there is no audit log"),
            false => Ok(None),
        };
    };
    if !path.is_absolute() {
        return invalid("auditLogPath", "is not an absolute path");
    }
    let max_bytes = file.audit_log_max_size.unwrap_or(MAX_SIZE).saturating_mul(1 << 20);
    if max_bytes == 0 {
        return invalid("auditLogMaxSize", "0 leaves no room");
    }
    Ok(Some(LogConfig { path, max_bytes, max_backups: file.audit_log_max_backups.unwrap_or(0) }))
}

fn webhook(file: &File) -> Result<Option<Webhook>, ConfigError> {
    let invalid = |field, why: String| Err(ConfigError::Invalid { field, why });
    let (buffer, size) = (file.audit_webhook_batch_buffer_size, file.audit_webhook_batch_max_size);
    let (wait, backoff) = (&file.audit_webhook_batch_max_wait, &file.audit_webhook_initial_backoff);
    let Some(path) = file.audit_webhook_config_file.clone() else {
        return match buffer.is_some() || size.is_some() || wait.is_some() || backoff.is_some() {
            true => invalid("auditWebhookConfigFile", "is missing: there is no webhook".to_owned()),
            false => Ok(None),
        };
    };
    for (field, number) in [("auditWebhookBatchBufferSize", buffer), ("auditWebhookBatchMaxSize", size)] {
        if number == Some(0) {
            return invalid(field, "0 leaves no room".to_owned());
        }
    }
    let usual = Batches::default();
    Ok(Some(Webhook {
        file: path,
        batches: Batches {
            buffer: buffer.unwrap_or(usual.buffer),
            size: size.unwrap_or(usual.size),
            wait: duration("auditWebhookBatchMaxWait", wait.as_deref(), usual.wait)?,
            backoff: duration("auditWebhookInitialBackoff", backoff.as_deref(), usual.backoff)?,
        },
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn policy_and_log_belong_together() {
        let of = |text: &str| resolve(&serde_yaml_ng::from_str(text).expect("parses")).map_err(|error| error.to_string());
        assert_eq!(of("{}"), Ok(None));
        let audit = of("auditPolicyFile: /p\nauditLogPath: /l\nauditLogMaxBackups: 3\n").expect("is valid").expect("is wanted");
        let log = audit.log.expect("is wanted");
        assert_eq!((log.max_bytes, log.max_backups, audit.webhook), (100 << 20, 3, None));
        let told = of("{auditPolicyFile: /p, auditWebhookConfigFile: /w, auditWebhookBatchMaxWait: 1m}").expect("is valid");
        let batches = Batches { wait: Duration::from_secs(60), ..Batches::default() };
        assert_eq!(told.expect("is wanted").webhook, Some(Webhook { file: "/w".into(), batches }));
        for (text, says) in [
            ("auditPolicyFile: /p", "auditLogPath: is missing"),
            ("auditLogPath: /l", "auditPolicyFile: is missing"),
            ("auditLogMaxSize: 1", "auditLogPath: is missing"),
            ("auditWebhookConfigFile: /w", "auditPolicyFile: is missing"),
            ("auditWebhookBatchMaxSize: 1", "auditWebhookConfigFile: is missing"),
            ("{auditWebhookConfigFile: /w, auditWebhookBatchBufferSize: 0}", "auditWebhookBatchBufferSize: 0"),
            ("{auditWebhookConfigFile: /w, auditWebhookInitialBackoff: soon}", "auditWebhookInitialBackoff: \"soon\" is no"),
            ("{auditPolicyFile: /p, auditLogPath: l}", "auditLogPath: is not"),
            ("{auditPolicyFile: /p, auditLogPath: /l, auditLogMaxSize: 0}", "auditLogMaxSize: 0"),
        ] {
            let error = of(text).expect_err("is wrong");
            assert!(error.starts_with(says), "{error}");
        }
    }
}
