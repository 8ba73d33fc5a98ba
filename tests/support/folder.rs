//! A folder of a fixture's own, and the end of what killed tests left behind.
//!
//! Its owner holds a lock on the file `owner`, which the kernel frees however the owner ends. A folder that nobody holds is
//! a leftover: its cluster is taken down, its registry ended, and it is removed.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::run;
use crate::executables::mizzen;
use crate::lan;

pub struct Folder {
    path: PathBuf,
    leave: bool,
    _owner: Flock<File>,
}

impl Folder {
    /// A new one; leftovers of earlier runs are removed first.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        let root = root();
        std::fs::create_dir_all(&root).expect("makes");
        // While a folder has no owner yet, nobody else may look for leftovers.
        let _turn = lock(&root.join("turn"), FlockArg::LockExclusive).expect("locks");
        remove_leftovers(&root);
        let path = tempfile::Builder::new().prefix("").tempdir_in(&root).expect("a folder").keep();
        let owner = lock(&path.join("owner"), FlockArg::LockExclusiveNonblock).expect("nobody else knows it");
        Self { path, leave: false, _owner: owner }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where clusters of fixtures keep their data: [`remove_leftovers`] looks for them there.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Leaves the folder to whoever looks for leftovers next, as a killed test does.
    pub fn abandon(mut self) -> PathBuf {
        self.leave = true;
        self.path.clone()
    }

    /// Takes down what `mizzen` made; where that fails the folder stays, and the next run tries to.
    pub fn down(&mut self) {
        self.down_in(None);
    }

    /// The same in the network namespace where it was made.
    pub fn down_in(&mut self, namespace: Option<&Path>) {
        let mut down = mizzen();
        down.args(["down", "--delete-data", "--data-dir"]).arg(self.data());
        if let Some(pin) = namespace {
            down = lan::inside(pin, &down);
        }
        let down = run(&mut down);
        if down.code != Some(0) {
            eprintln!("mizzen down failed: {}{}", down.stdout, down.stderr);
            self.leave = true;
        }
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.leave {
            return;
        }
        // Whoever looks for leftovers meanwhile would find a folder without its lock.
        let _turn = lock(&root().join("turn"), FlockArg::LockExclusive);
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("remove {}: {error}", self.path.display());
        }
    }
}

/// Where all of them are.
pub fn root() -> PathBuf {
    std::env::temp_dir().join("mizzen-tests")
}

/// `None` when somebody else holds it and `how` does not wait.
fn lock(path: &Path, how: FlockArg) -> Option<Flock<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path).expect("opens");
    Flock::lock(file, how).ok()
}

fn remove_leftovers(root: &Path) {
    let folders = std::fs::read_dir(root).expect("is there").flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    for folder in folders {
        let Some(_owner) = lock(&folder.join("owner"), FlockArg::LockExclusiveNonblock) else { continue };
        eprintln!("removing what an earlier run left in {}", folder.display());
        end_registries(&folder);
        let data = folder.join("data");
        if data.join("cluster.json").exists() {
            let down = run(mizzen().args(["down", "--delete-data", "--data-dir"]).arg(data));
            if down.code != Some(0) {
                // Something may still be mounted below it.
                eprintln!("{} failed: {}", down.line, down.stderr);
                continue;
            }
        }
        lan::release(&folder);
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            eprintln!("remove {}: {error}", folder.display());
        }
    }
}

/// A registry is known by its configuration, which is in its folder.
fn end_registries(folder: &Path) {
    let pids = std::fs::read_dir("/proc").expect("is mounted").flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        if program.ends_with(b"docker-registry") && words.any(|word| word.starts_with(folder.as_os_str().as_bytes())) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
