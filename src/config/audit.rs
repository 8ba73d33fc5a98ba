//! What of the configuration is about the audit log.

use std::path::PathBuf;

use mizzen_apiserver::audit::LogConfig;

use super::{ConfigError, File};

/// Mebibytes of one file, as in Kubernetes.
const MAX_SIZE: u64 = 100;

/// An audit log that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub policy_file: PathBuf,
    pub log: LogConfig,
}

/// # Errors
/// Names the field that is missing or wrong.
pub(super) fn resolve(file: &File) -> Result<Option<Audit>, ConfigError> {
    let invalid = |field, why: &str| Err(ConfigError::Invalid { field, why: why.to_owned() });
    let (policy_file, path) = match (&file.audit_policy_file, &file.audit_log_path) {
        (None, None) if file.audit_log_max_size.is_some() || file.audit_log_max_backups.is_some() => {
            return invalid("auditLogPath", "is missing: there is no audit log");
        }
        (None, None) => return Ok(None),
        (None, Some(_)) => return invalid("auditPolicyFile", "is missing: without a policy nothing is noted"),
        (Some(_), None) => return invalid("auditLogPath", "is missing: there is nowhere to note what the policy wants"),
        (Some(policy_file), Some(path)) => (policy_file.clone(), path.clone()),
    };
    if !path.is_absolute() {
        return invalid("auditLogPath", "is not an absolute path");
    }
    let max_bytes = file.audit_log_max_size.unwrap_or(MAX_SIZE).saturating_mul(1 << 20);
    if max_bytes == 0 {
        return invalid("auditLogMaxSize", "0 leaves no room");
    }
    Ok(Some(Audit { policy_file, log: LogConfig { path, max_bytes, max_backups: file.audit_log_max_backups.unwrap_or(0) } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_log_belong_together() {
        let of = |text: &str| resolve(&serde_yaml_ng::from_str(text).expect("parses")).map_err(|error| error.to_string());
        assert_eq!(of("{}"), Ok(None));
        let audit = of("auditPolicyFile: /p\nauditLogPath: /l\nauditLogMaxBackups: 3\n").expect("is valid").expect("is wanted");
        assert_eq!((audit.log.max_bytes, audit.log.max_backups), (100 << 20, 3));
        for (text, says) in [
            ("auditPolicyFile: /p", "auditLogPath: is missing"),
            ("auditLogPath: /l", "auditPolicyFile: is missing"),
            ("auditLogMaxSize: 1", "auditLogPath: is missing"),
            ("{auditPolicyFile: /p, auditLogPath: l}", "auditLogPath: is not"),
            ("{auditPolicyFile: /p, auditLogPath: /l, auditLogMaxSize: 0}", "auditLogMaxSize: 0"),
        ] {
            let error = of(text).expect_err("is wrong");
            assert!(error.starts_with(says), "{error}");
        }
    }
}
