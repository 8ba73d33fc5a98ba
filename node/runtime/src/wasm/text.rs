//! Files that a pod may have made and that the node reads for it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// In bytes: what is longer would not fit into a message to the host (`mizzen_shim_protocol::frame::MAX_FRAME`) beside all else.
const LONGEST: u64 = 256 << 10;

/// A regular file's text.
///
/// # Errors
/// For what is no such file, and for more than a pod's names can need. Never waits, as a pipe would have it.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut text = String::new();
    if file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        return Err(io::Error::other(format!("is longer than {LONGEST} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn a_pipe_is_not_waited_for_and_a_long_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, file) = (dir.path().join("pipe"), dir.path().join("file"));
        nix::unistd::mkfifo(&pipe, Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(read(&pipe).unwrap_err().to_string(), "is not a regular file");
        assert_eq!(read(dir.path()).unwrap_err().to_string(), "is not a regular file");
        std::fs::write(&file, "127.0.0.1 localhost").unwrap();
        assert_eq!(read(&file).unwrap(), "127.0.0.1 localhost");
        File::options().write(true).open(&file).unwrap().set_len(1 << 42).unwrap();
        assert!(read(&file).unwrap_err().to_string().starts_with("is longer than"));
    }
}
