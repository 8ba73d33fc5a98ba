//! What a user reads of an error: one line.

use anyhow::Error;

/// The error with its causes, each once.
pub fn line(error: &Error) -> String {
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
}
