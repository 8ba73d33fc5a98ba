//! What a user reads of an error: one line.

use anyhow::Error;

/// As shells report a process that SIGPIPE ended.
const NO_READER: i32 = 141;

/// Whoever reads what a command prints may have seen enough (`| head`): then it ends, and has nothing to complain of.
pub fn end_quietly_without_readers() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>();
        if said.is_some_and(|said| said.starts_with("failed printing to stdout: Broken pipe")) {
            std::process::exit(NO_READER);
        }
        before(panic);
    }));
}

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
