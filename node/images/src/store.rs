//! The images of one node.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;

use crate::blobs::{Paths, io};
use crate::digest::Digest;
use crate::gc::Collect;
use crate::install::{Install, Source, blocking};
use crate::keyed::Keyed;
use crate::refs::{self, Ref};
use crate::registry::Registry;
use crate::{Credentials, Image, ImageError, Progress, Settings, gc, load, reference};

/// What [`ImageStore::gc`] took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// References.
    pub images: Vec<String>,
    /// On disk.
    pub bytes: u64,
}

/// The images of one node. Methods may be called from many tasks at once, and several processes may share the folder.
pub struct ImageStore {
    pub(crate) paths: Paths,
    pub(crate) settings: Settings,
    pub(crate) transfers: Keyed,
    pub(crate) unpacking: Keyed,
    loaded: Mutex<Vec<(Ref, Arc<Image>)>>,
}

impl ImageStore {
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(root: PathBuf) -> Result<Arc<Self>, ImageError> {
        Self::open_with(root, Settings::default())
    }

    /// # Errors
    /// As for [`ImageStore::open`].
    pub fn open_with(root: PathBuf, settings: Settings) -> Result<Arc<Self>, ImageError> {
        let paths = Paths::new(root);
        for dir in [paths.blobs(), paths.layers(), paths.refs(), paths.unfinished()] {
            std::fs::create_dir_all(&dir).map_err(io("create", &dir))?;
        }
        let store = Self { paths, settings, transfers: Keyed::default(), unpacking: Keyed::default(), loaded: Mutex::default() };
        // What a crash left half done; unless another process is at it now.
        if let Ok(Some(_alone)) = store.lock(FlockArg::LockExclusiveNonblock) {
            let dir = store.paths.unfinished();
            std::fs::remove_dir_all(&dir).and_then(|()| std::fs::create_dir(&dir)).map_err(io("clean", &dir))?;
        }
        Ok(Arc::new(store))
    }

    fn lock(&self, how: FlockArg) -> Result<Option<Flock<File>>, ImageError> {
        let path = self.paths.lock();
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io("open", &path))?;
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(io("lock", &path)(e.into())),
        }
    }

    /// Content that no reference needs yet is safe while this is held.
    pub(crate) async fn keep_out_gc(self: &Arc<Self>) -> Result<Option<Flock<File>>, ImageError> {
        let store = self.clone();
        blocking(move || store.lock(FlockArg::LockShared)).await
    }

    /// Fetches what of the image is not here yet, verifies and unpacks it. The registry is always asked which image a tag
    /// is now, and whether the credentials may have it.
    ///
    /// # Errors
    /// One variant per cause; nothing partial stays.
    pub async fn pull(
        self: &Arc<Self>,
        reference: &str,
        credentials: &Credentials,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<Arc<Image>, ImageError> {
        let parsed = reference::parse(reference)?;
        let reference = parsed.whole();
        let registry = Registry::new(parsed, credentials, &self.settings);
        let document = registry.manifest(None).await?;
        let source = Source::Registry(Box::new(registry));
        Install { store: self, source, reference, progress }.run(document).await
    }

    /// By tag, digest or id (`sha256:…`, or its hex digits, at least 12).
    pub fn get(&self, reference: &str) -> Option<Arc<Image>> {
        let bare = reference.strip_prefix("sha256:").unwrap_or(reference);
        if bare.len() >= 12 && bare.bytes().all(|c| c.is_ascii_hexdigit()) {
            let fits = |digest: &str| digest.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(bare));
            let found = self.list().into_iter().find(|i| fits(&i.id) || fits(&i.digest));
            if found.is_some() || reference.starts_with("sha256:") {
                return found;
            }
        }
        let parsed = reference::parse(reference).ok()?;
        if let Some(entry) = refs::read(&self.paths, &parsed.whole()) {
            return self.loaded(&entry);
        }
        // The content of a digest is the same under every tag of its repository.
        let wanted: Digest = parsed.digest()?.parse().ok()?;
        let repository = |r: &oci_client::Reference| (r.registry().to_owned(), r.repository().to_owned());
        let same = |entry: &Ref| {
            (entry.manifest == wanted || entry.index.as_ref() == Some(&wanted))
                && reference::parse(&entry.reference).is_ok_and(|other| repository(&other) == repository(&parsed))
        };
        refs::list(&self.paths).iter().find(|entry| same(entry)).and_then(|entry| self.loaded(entry))
    }

    /// In the order of their references.
    pub fn list(&self) -> Vec<Arc<Image>> {
        refs::list(&self.paths).iter().filter_map(|entry| self.loaded(entry)).collect()
    }

    /// `None`, with a warning, when content is missing: pulling mends it.
    fn loaded(&self, entry: &Ref) -> Option<Arc<Image>> {
        let known = self.loaded.lock().iter().find(|(key, _)| key == entry).map(|(_, image)| image.clone());
        if let Some(image) = known.filter(|image| is_whole(image)) {
            return Some(image);
        }
        match load::load(&self.paths, entry) {
            Ok(image) => {
                let image = Arc::new(image);
                let mut loaded = self.loaded.lock();
                loaded.retain(|(key, _)| key.reference != entry.reference);
                loaded.push((entry.clone(), image.clone()));
                Some(image)
            }
            Err(error) => {
                tracing::warn!(reference = entry.reference, %error, "image is unusable");
                None
            }
        }
    }

    /// Forgets a reference, or all of them by id; the content goes with the next [`ImageStore::gc`]. False when there was
    /// none.
    ///
    /// # Errors
    /// When the reference's file cannot be removed.
    pub fn remove(&self, reference: &str) -> Result<bool, ImageError> {
        if let Ok(parsed) = reference::parse(reference)
            && refs::read(&self.paths, &parsed.whole()).is_some()
        {
            refs::remove(&self.paths, &parsed.whole())?;
            return Ok(true);
        }
        let Some(image) = self.get(reference) else { return Ok(false) };
        for same in self.list().iter().filter(|other| other.id == image.id) {
            refs::remove(&self.paths, &same.reference)?;
        }
        Ok(true)
    }

    /// Takes in every image of an OCI layout folder under its `org.opencontainers.image.ref.name`, or its only one under
    /// `reference`.
    ///
    /// # Errors
    /// As for [`ImageStore::pull`].
    pub async fn import(self: &Arc<Self>, layout: &Path, reference: Option<&str>) -> Result<Vec<Arc<Image>>, ImageError> {
        let found = crate::layout::images(layout, reference)?;
        let mut images = Vec::with_capacity(found.len());
        for (reference, descriptor) in found {
            let blobs = layout.join("blobs/sha256");
            let document = crate::layout::document(layout, &descriptor)?;
            let source = Source::Folder(blobs);
            images.push(Install { store: self, source, reference, progress: None }.run(document.into()).await?);
        }
        Ok(images)
    }

    /// Sends an image to a registry. Answers the manifest's digest.
    ///
    /// # Errors
    /// One variant per cause.
    pub async fn push(
        self: &Arc<Self>,
        source: &str,
        target: &str,
        credentials: &Credentials,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<String, ImageError> {
        crate::push::push(self, source, target, credentials, progress).await
    }

    /// Removes images that nobody uses, and content that no image needs. Waits for pulls that run.
    ///
    /// # Errors
    /// When a file cannot be removed, or what an image needs cannot be found out; nothing is removed then.
    pub async fn gc(self: &Arc<Self>, wanted: Collect) -> Result<Removed, ImageError> {
        let store = self.clone();
        blocking(move || {
            let _alone = store.lock(FlockArg::LockExclusive)?;
            gc::collect(&store.paths, &wanted)
        })
        .await
    }

    /// Notes that the image of this normalised reference was in use.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn used(&self, reference: &str, at: SystemTime) -> Result<(), ImageError> {
        refs::set_last_used(&self.paths, reference, at)
    }

    /// When the image of this normalised reference was last noted to be in use, or pulled.
    pub fn last_used(&self, reference: &str) -> Option<SystemTime> {
        refs::last_used(&self.paths, reference)
    }

    pub fn root(&self) -> &Path {
        self.paths.root()
    }
}

/// Whether somebody took content away since.
fn is_whole(image: &Image) -> bool {
    match &image.kind {
        crate::ImageKind::Container(container) => container.layers.iter().all(|l| l.is_dir()),
        crate::ImageKind::Wasm(wasm) => wasm.path.is_file(),
    }
}
