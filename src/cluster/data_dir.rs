//! The data folder: which cluster it is, and that only one process runs it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Raised when the layout of the folder changes so that an older `mizzen` could not read it.
const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} was written by another version of mizzen (format {found}, this one reads {FORMAT})", path.display())]
    Format { path: PathBuf, found: u32 },
    #[error("{} is not a mizzen cluster: {why}", path.display())]
    NotACluster { path: PathBuf, why: String },
    #[error("another mizzen (process {pid}) already runs the cluster in {}", path.display())]
    Busy { path: PathBuf, pid: String },
}

#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    /// Eight hexadecimal digits: names of bridge, namespaces and cgroups derive from it.
    cluster: String,
}

/// A cluster's folder.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    cluster: String,
    /// The folders that were made for it, the innermost first, if it is new.
    made: Option<Vec<PathBuf>>,
}

/// Held while a process runs the cluster.
pub struct Lock {
    _file: Flock<File>,
}

impl DataDir {
    /// Opens the folder, making it a new cluster's when it is empty or missing.
    ///
    /// # Errors
    /// When it cannot be written or belongs to another version.
    pub fn create(root: &Path) -> Result<Self, DataDirError> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let failed = |source| DataDirError::Io { operation: "create", path: root.to_owned(), source };
        let made: Vec<PathBuf> = root.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        // Somebody's folder is never taken for a cluster's, nor is an identity that cannot be read made anew: what runs
        // under the old one would be lost.
        if std::fs::read_dir(root).map_err(failed)?.next().is_some() {
            return Self::open(root);
        }
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let identity = Identity { format: FORMAT, cluster: format!("{:08x}", rand::random::<u32>()) };
        let text = serde_json::to_vec(&identity).map_err(|error| failed(error.into()))?;
        write_private(&root.join("cluster.json"), &text)?;
        // By paths that hold wherever the process stands.
        let made = made.iter().map(|folder| folder.canonicalize().map_err(failed)).collect::<Result<_, _>>()?;
        Ok(Self { made: Some(made), ..Self::open(root)? })
    }

    /// Opens a folder that is a cluster's.
    ///
    /// # Errors
    /// When it is none, or another version's.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let not_a_cluster = |why: String| DataDirError::NotACluster { path: root.to_owned(), why };
        // The kernel's table of mounts has paths without links, and mounts are found again by their path.
        let unreadable = |error: std::io::Error, what: &str| match error.kind() {
            ErrorKind::PermissionDenied => DataDirError::Io { operation: "open", path: root.to_owned(), source: error },
            _ => not_a_cluster(format!("{what}{error}")),
        };
        let real = root.canonicalize().map_err(|error| unreadable(error, ""))?;
        let text = std::fs::read(real.join("cluster.json")).map_err(|error| unreadable(error, "cluster.json: "))?;
        let root = &real;
        let identity: Identity = serde_json::from_slice(&text).map_err(|error| not_a_cluster(error.to_string()))?;
        if identity.format != FORMAT {
            return Err(DataDirError::Format { path: root.to_owned(), found: identity.format });
        }
        Ok(Self { root: root.to_owned(), cluster: identity.cluster, made: None })
    }

    /// Takes the folder for this process until the lock is dropped.
    ///
    /// # Errors
    /// [`DataDirError::Busy`] when another process has it.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let path = self.lock_path();
        let failed = |source| DataDirError::Io { operation: "lock", path: path.clone(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| write!(file, "{}", std::process::id()))
                    .map_err(failed)?;
                Ok(Lock { _file: file })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                Err(DataDirError::Busy { path: self.root.clone(), pid })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// Whether [`DataDir::create`] made a new cluster of it.
    pub fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// Takes a new cluster's folder away again, or empties the folder if it was there before. Of one that is not new,
    /// nothing is touched.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn unmake(&self) -> Result<(), DataDirError> {
        let Some(made) = &self.made else { return Ok(()) };
        let failed = |source| DataDirError::Io { operation: "remove", path: self.root.clone(), source };
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(failed)?;
        }
        // Never with what somebody else has put there by now.
        made.iter().try_for_each(|folder| std::fs::remove_dir(folder).map_err(failed))
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The range of service addresses that was chosen for the cluster, if one was.
    pub fn service_range(&self) -> Option<String> {
        std::fs::read_to_string(self.service_range_path()).ok()
    }

    /// Services keep their addresses, so the range stays whatever comes to overlap it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_service_range(&self, range: &str) -> Result<(), DataDirError> {
        if self.service_range().as_deref() == Some(range) {
            return Ok(());
        }
        write_private(&self.service_range_path(), range.as_bytes())
    }

    fn service_range_path(&self) -> PathBuf {
        self.root.join("service-range")
    }

    /// Who this machine is, where it has joined a server by a token.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// What the node remembers of the cluster.
    pub fn node_state(&self) -> PathBuf {
        self.root.join("node-state.redb")
    }

    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The administrator's.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Log and state of the control plane.
    pub fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Components of scheduler plugins and admission policies, compiled and not.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    pub fn network(&self) -> PathBuf {
        self.root.join("network")
    }

    /// Containers and their shims.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub fn wasm(&self) -> PathBuf {
        self.root.join("wasm")
    }

    /// Of nodes beside the first, where a cluster is tried out on one machine.
    pub fn further_nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// Pods: volumes and logs.
    pub fn node(&self) -> PathBuf {
        self.root.join("node")
    }
}

/// Writes a file that only root reads, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), DataDirError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |source| DataDirError::Io { operation: "write", path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    // The name must survive a power cut as well.
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    folder.map_or(Ok(()), |folder| File::open(folder).and_then(|folder| folder.sync_all())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_identity_and_has_one_owner() {
        let root = tempfile::tempdir().expect("a folder");
        let first = DataDir::create(root.path()).expect("creates");
        let again = DataDir::create(root.path()).expect("opens");
        assert_eq!(first.cluster(), again.cluster());
        let lock = first.lock().expect("locks");
        let busy = again.lock().err().expect("is busy").to_string();
        assert!(busy.contains(&format!("process {}", std::process::id())), "{busy}");
        drop(lock);
        again.lock().expect("is free");
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_never_made_a_clusters() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("thesis.txt"), "years of work").expect("writes");
        assert!(matches!(DataDir::create(root.path()), Err(DataDirError::NotACluster { .. })));
        std::fs::write(root.path().join("cluster.json"), r#"{"form"#).expect("writes");
        assert!(matches!(DataDir::create(root.path()), Err(DataDirError::NotACluster { .. })), "cut off, not made anew");
    }

    #[test]
    fn a_new_folder_is_taken_away_again_and_one_that_was_there_is_only_emptied() {
        let dir = tempfile::tempdir().expect("a folder");
        let (outer, there) = (dir.path().join("a"), dir.path().join("there"));
        let new = DataDir::create(&outer.join("b/c")).expect("creates");
        std::fs::create_dir_all(new.server()).expect("makes");
        let _lock = new.lock().expect("locks");
        new.unmake().expect("removes");
        assert!(!outer.exists());

        std::fs::create_dir(&there).expect("makes");
        DataDir::create(&there).expect("creates").unmake().expect("empties");
        assert_eq!(std::fs::read_dir(&there).expect("is there").count(), 0);

        DataDir::create(&there).expect("creates");
        DataDir::create(&there).expect("opens").unmake().expect("does nothing");
        assert!(there.join("cluster.json").exists(), "a cluster of an earlier start stays");
    }

    #[test]
    fn a_folder_behind_a_link_is_known_by_its_real_path() {
        let dir = tempfile::tempdir().expect("a folder");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        DataDir::create(&real).expect("creates");
        std::os::unix::fs::symlink(&real, &link).expect("links");
        assert_eq!(DataDir::open(&link).expect("opens").root(), real.canonicalize().expect("is there"));
    }

    #[test]
    fn data_of_another_version_is_refused_by_name() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("cluster.json"), r#"{"format":9,"cluster":"00000000"}"#).expect("writes");
        let error = DataDir::create(root.path()).expect_err("is refused").to_string();
        assert!(error.contains("another version of mizzen (format 9"), "{error}");
    }
}
