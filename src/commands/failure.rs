//! What a user reads of an error: one line.

use anyhow::Error;

/// What the API server said, where it refused; else the error with its causes, each once.
pub(super) fn line(error: &Error) -> String {
    if let Some(kube::Error::Api(status)) = error.chain().find_map(|cause| cause.downcast_ref()) {
        return status.message.clone();
    }
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Many an error quotes its cause already.
        if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigError;

    #[test]
    fn a_cause_is_said_once() {
        let source = std::io::Error::other("disk on fire");
        let quoted = Error::new(ConfigError::Read { path: "/c".into(), source });
        assert_eq!(line(&quoted), "cannot read the configuration /c: disk on fire");
        assert_eq!(line(&quoted.context("start")), "start: cannot read the configuration /c: disk on fire");
    }

    #[test]
    fn a_refusal_is_the_servers_own_words() {
        let status = kube::core::Status::failure("pods \"a\" not found", "NotFound");
        let error = Error::new(kube::Error::Api(status.boxed())).context("get");
        assert_eq!(line(&error), "pods \"a\" not found");
    }
}
