//! The two starts that libcontainer does for us: the container with its first process, and one more process.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::{Capabilities, Capability, Process, Spec};
use libcontainer::syscall::syscall::SyscallType;
use mizzen_shim_protocol::ContainerFile;

use super::executor::{Confinement, Program};
use super::{Failure, Launch, Note, Notes, explain, give, rootfs};

/// libcontainer's own state, below the container's directory.
const STATE: &str = "oci";

/// The new process's ends of its streams.
pub(crate) enum Stdio {
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// The socket that gets the terminal.
    Terminal(PathBuf),
}

/// Makes the container and starts its first process.
///
/// # Errors
/// When there can be no child; everything else is a note.
pub(crate) fn init(dir: &Path, info: &ContainerFile, stdio: Stdio) -> io::Result<Launch> {
    Launch::fork(|notes| {
        let spec = Spec::load(dir.join("config.json")).map_err(|err| Failure::create(explain(&err)))?;
        rootfs::mount(dir, info, &spec).map_err(|err| Failure::create(format!("root file system: {err}")))?;
        let builder = builder(dir, info, notes, None, stdio).map_err(Failure::create)?;
        let mut container =
            builder.as_init(dir).with_systemd(false).with_detach(true).build().map_err(|err| Failure::create(explain(&err)))?;
        let pid = container.pid().ok_or_else(|| Failure::create("the container has no process"))?;
        notes.write(&Note::Pid(pid.as_raw()));
        container.start().map_err(|err| Failure::start(explain(&err)))?;
        Ok(pid.as_raw())
    })
}

/// What one exec runs.
pub(crate) struct Exec {
    pub(crate) command: Vec<String>,
    pub(crate) terminal: bool,
    /// Tells the files of one exec from those of others.
    pub(crate) number: u32,
}

/// Starts one more process in the running container, confined as the first one is.
///
/// # Errors
/// As for [`init`].
pub(crate) fn exec(dir: &Path, info: &ContainerFile, exec: &Exec, stdio: Stdio) -> io::Result<Launch> {
    Launch::fork(|notes| {
        let spec = Spec::load(dir.join("config.json")).map_err(|err| Failure::start(explain(&err)))?;
        let (process, confinement) = exec_process(&spec, exec).map_err(Failure::start)?;
        let file = dir.join(format!("exec-{}.json", exec.number));
        mizzen_shim_protocol::record::write_atomically(&file, &process).map_err(|err| Failure::start(err.to_string()))?;
        let started = builder(dir, info, notes, confinement, stdio).and_then(|builder| {
            let tenant = builder.as_tenant().with_process(Some(&file)).with_detach(true);
            tenant.build().map_err(|err| explain(&err))
        });
        let _ = std::fs::remove_file(&file);
        started.map(|pid| pid.as_raw()).map_err(Failure::start)
    })
}

fn builder(
    dir: &Path,
    info: &ContainerFile,
    notes: Notes,
    confinement: Option<Confinement>,
    stdio: Stdio,
) -> Result<ContainerBuilder, String> {
    let builder = ContainerBuilder::new(info.id.clone(), SyscallType::default())
        .with_executor(Program { notes, confinement })
        .with_root_path(dir.join(STATE))
        .map_err(|err| explain(&err))?;
    match stdio {
        Stdio::Terminal(socket) => Ok(builder.with_console_socket(Some(socket))),
        Stdio::Pipes { stdin, stdout, stderr } => {
            for fd in stdin.iter().chain([&stdout, &stderr]) {
                give(fd, info.uid);
            }
            let stdin = match stdin {
                Some(stdin) => stdin,
                None => OpenOptions::new().read(true).open("/dev/null").map_err(|err| format!("/dev/null: {err}"))?.into(),
            };
            Ok(builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr))
        }
    }
}

/// The first process's definition with another command. Without "no new privileges" only a privileged process may load
/// a filter: such an exec keeps what it needs for that until the filter is loaded.
fn exec_process(spec: &Spec, exec: &Exec) -> Result<(Process, Option<Confinement>), String> {
    let mut process = spec.process().clone().ok_or("the container's spec has no process")?;
    process.set_args(Some(exec.command.clone())).set_terminal(Some(exec.terminal));
    if exec.terminal
        && let Some(env) = process.env_mut()
        && !env.iter().any(|entry| entry.starts_with("TERM="))
    {
        env.push("TERM=xterm".into());
    }
    let Some(seccomp) = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone()) else {
        return Ok((process, None));
    };
    if process.no_new_privileges().unwrap_or(false) {
        return Ok((process, Some(Confinement { seccomp, capabilities: None })));
    }
    let kept = process.capabilities().clone();
    if let Some(mut more) = kept.clone() {
        let with = |set: &Option<Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.extend([Capability::SysAdmin, Capability::Setpcap]);
            Some(set)
        };
        let (bounding, effective, permitted) = (with(more.bounding()), with(more.effective()), with(more.permitted()));
        more.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
        process.set_capabilities(Some(more));
    }
    Ok((process, Some(Confinement { seccomp, capabilities: kept })))
}
