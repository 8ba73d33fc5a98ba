//! The last step inside the container: find the program, confine an exec as the container is, execute.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};

use super::{Failure, Note, Notes, explain};

/// What libcontainer does not do for an exec.
#[derive(Clone)]
pub(super) struct Confinement {
    pub(crate) seccomp: LinuxSeccomp,
    /// Set after the filter where loading the filter needs privileges that the process must not keep.
    pub(crate) capabilities: Option<LinuxCapabilities>,
}

#[derive(Clone)]
pub(super) struct Program {
    pub(crate) notes: Notes,
    pub(crate) confinement: Option<Confinement>,
}

impl Program {
    fn fail(&self, message: String) -> String {
        self.notes.write(&Note::Failed(Failure::start(message.clone())));
        message
    }

    fn confine(&self, confinement: &Confinement) -> Result<(), String> {
        libcontainer::seccomp::initialize_seccomp(&confinement.seccomp).map_err(|err| explain(&err))?;
        if let Some(capabilities) = &confinement.capabilities {
            let syscall = libcontainer::syscall::syscall::create_syscall();
            libcontainer::capabilities::drop_privileges(capabilities, &*syscall).map_err(|err| explain(&err))?;
        }
        Ok(())
    }
}

impl Executor for Program {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let (program, path) = program(spec);
        match find(&program, &path) {
            Ok(_) => Ok(()),
            Err(message) => Err(ExecutorValidationError::ArgValidationError(self.fail(message))),
        }
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // SAFETY: single-threaded; names and values were checked when the spec was made.
        unsafe {
            libc::clearenv();
            for (name, value) in envs {
                std::env::set_var(name, value);
            }
        }
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (program, path) = program(spec);
        let result = find(&program, &path).and_then(|file| {
            let args = spec.process().as_ref().and_then(|process| process.args().as_ref());
            let args: Result<Vec<_>, _> = args.into_iter().flatten().map(|arg| CString::new(arg.as_bytes())).collect();
            let (Ok(args), Ok(file)) = (args, CString::new(file.as_os_str().as_encoded_bytes())) else {
                return Err(format!("exec: {program:?}: an argument contains a zero byte"));
            };
            if let Some(confinement) = &self.confinement {
                self.confine(confinement).map_err(|message| format!("seccomp: {message}"))?;
            }
            match nix::unistd::execv(&file, &args) {
                Ok(never) => match never {},
                Err(err) => Err(format!("exec {}: {}", file.to_string_lossy(), err.desc().to_lowercase())),
            }
        });
        result.map_err(|message| ExecutorError::Other(self.fail(message)))
    }
}

/// The program's name and the `PATH` it is looked up in.
fn program(spec: &Spec) -> (String, String) {
    let process = spec.process().as_ref();
    let name = process.and_then(|process| process.args().as_ref()).and_then(|args| args.first()).cloned().unwrap_or_default();
    let path = process
        .and_then(|process| process.env().as_ref())
        .and_then(|env| env.iter().find_map(|entry| entry.strip_prefix("PATH=")))
        .unwrap_or_default();
    (name, path.to_owned())
}

/// As a shell finds it: a name with a slash as it is, any other along `PATH`.
fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return match std::fs::metadata(name) {
            Err(err) if err.kind() == std::io::ErrorKind::PermissionDenied => Err(format!("exec: {name:?}: permission denied")),
            Err(_) => Err(format!("exec: {name:?}: stat {name}: no such file or directory")),
            Ok(metadata) if metadata.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(_) if executable(Path::new(name)) => Ok(PathBuf::from(name)),
            Ok(_) => Err(format!("exec: {name:?}: permission denied")),
        };
    }
    path.split(':')
        .map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name))
        .find(|file| !name.is_empty() && executable(file))
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

fn executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up_along_the_path() {
        assert_eq!(find("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("sh", "/nowhere").unwrap_err(), "exec: \"sh\": executable file not found in $PATH");
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(find("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
        assert!(find("/bin/none", "/bin").unwrap_err().ends_with("no such file or directory"));
        assert!(find("/etc/passwd", "/bin").unwrap_err().ends_with("permission denied"));
        assert!(find("/etc", "/bin").unwrap_err().ends_with("is a directory"));
    }
}
