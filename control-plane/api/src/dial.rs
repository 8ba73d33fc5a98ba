//! What Kubernetes' programs say of a connection that could not be made: people and tests look for their words.

use std::io::Error;

/// Why there is no connection, as Go's `net` says it after the address: `connect: connection refused` for ECONNREFUSED.
/// What is not the system's own error, such as a name that nobody knows, is left as it is.
pub fn why_not_connected(error: &Error) -> String {
    let said = error.to_string();
    match (error.raw_os_error(), said.split_once(" (os error ")) {
        (Some(_), Some((words, _))) => format!("connect: {}", words.to_lowercase()),
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn the_systems_errors_are_said_as_go_says_them() {
        for (code, words) in [
            (111, "connect: connection refused"),
            (113, "connect: no route to host"),
            (101, "connect: network is unreachable"),
            (110, "connect: connection timed out"),
        ] {
            assert_eq!(why_not_connected(&Error::from_raw_os_error(code)), words);
        }
        assert_eq!(why_not_connected(&Error::new(ErrorKind::NotFound, "no such name")), "no such name");
    }
}
