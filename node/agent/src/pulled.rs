//! Which images this node's pods have pulled, and as whom, so that an image which a pod got by its secret is not everybody's
//! (decision 0027). Nothing is noted of images that came otherwise, and they are free.
//!
//! Below the folder, `images/` has a file for each image by its id, `intents/` one for each reference whose pull has begun
//! and whose end is not noted. All methods block.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mizzen_images::ImageStore;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// More secrets of one image are not noted only because they are as good as one that is.
const MOST_SECRETS: usize = 100;

/// A secret by which an image was pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PullSecret {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Of the login in it.
    pub(crate) hash: String,
}

impl PullSecret {
    fn is_same_object(&self, other: &Self) -> bool {
        (&self.uid, &self.namespace, &self.name) == (&other.uid, &other.namespace, &other.name)
    }
}

/// Who may use an image of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Access {
    /// The registry gave it to somebody without a name.
    everybody: bool,
    secrets: Vec<PullSecret>,
}

impl Access {
    /// `None` is a pull without a login.
    fn add(&mut self, by: Option<&PullSecret>) {
        match by {
            None => *self = Self { everybody: true, secrets: Vec::new() },
            Some(_) if self.everybody => {}
            Some(secret) => {
                self.secrets.retain(|known| !known.is_same_object(secret));
                self.secrets.push(secret.clone());
            }
        }
    }

    /// The login of a known secret may have changed, and a known login may be in another secret: both are good.
    fn admits(&self, secret: &PullSecret) -> bool {
        self.secrets.iter().any(|known| known.hash == secret.hash || known.is_same_object(secret))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    image: String,
    /// By repository: the same content may be anybody's in one and somebody's in another.
    repositories: BTreeMap<String, Access>,
}

/// An image in the store, as a container asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Normalised.
    pub(crate) reference: String,
    pub(crate) repository: String,
    /// The image's id.
    pub(crate) image: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Free,
    /// Only a secret that it was pulled by, or the registry's own word, can tell.
    Restricted,
}

pub(crate) struct Pulled {
    dir: PathBuf,
    /// How often each reference is being pulled. Held while files are read and written.
    under_way: Mutex<HashMap<String, u32>>,
}

impl Pulled {
    /// Pulls that an earlier agent did not see the end of are nobody's until the registry is asked again.
    pub(crate) fn open(dir: PathBuf, store: &ImageStore) -> io::Result<Self> {
        let pulled = Self { dir, under_way: Mutex::default() };
        for dir in [pulled.images(), pulled.intents()] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        for entry in fs::read_dir(pulled.intents())? {
            let path = entry?.path();
            // What a power cut left of a file says nothing, and the pull that it stood for had not begun.
            if let Some(reference) = read::<String>(&path)?
                && let Some(image) = store.get(&reference)
            {
                let repository = mizzen_images::repository(&reference).to_owned();
                let mut record = pulled.record(&image.id)?.unwrap_or_else(|| Record::of(&image.id));
                record.repositories.entry(repository).or_default();
                pulled.write(&record)?;
            }
            remove(&path)?;
        }
        Ok(pulled)
    }

    fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    fn intents(&self) -> PathBuf {
        self.dir.join("intents")
    }

    fn image(&self, id: &str) -> PathBuf {
        self.images().join(name(id))
    }

    fn intent(&self, reference: &str) -> PathBuf {
        self.intents().join(name(reference))
    }

    fn record(&self, id: &str) -> io::Result<Option<Record>> {
        read(&self.image(id))
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        write(&self.image(&record.image), record)
    }

    /// To be called before a pull: should the agent end before its end is noted, the image does not count as one that was
    /// always there.
    pub(crate) fn begin(&self, reference: &str) -> io::Result<()> {
        let mut under_way = self.under_way.lock();
        write(&self.intent(reference), &reference)?;
        *under_way.entry(reference.to_owned()).or_default() += 1;
        Ok(())
    }

    /// After a pull; by whom, where it needed a login.
    pub(crate) fn succeeded(&self, asked: &Asked, by: Option<&PullSecret>) -> io::Result<()> {
        let mut under_way = self.under_way.lock();
        self.add(asked, by)?;
        self.end(&mut under_way, &asked.reference)
    }

    pub(crate) fn failed(&self, reference: &str) -> io::Result<()> {
        self.end(&mut self.under_way.lock(), reference)
    }

    fn end(&self, under_way: &mut HashMap<String, u32>, reference: &str) -> io::Result<()> {
        match under_way.get_mut(reference) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                under_way.remove(reference);
                remove(&self.intent(reference))?;
            }
        }
        Ok(())
    }

    fn add(&self, asked: &Asked, by: Option<&PullSecret>) -> io::Result<()> {
        let before = self.record(&asked.image)?;
        let mut record = before.clone().unwrap_or_else(|| Record::of(&asked.image));
        record.repositories.entry(asked.repository.clone()).or_default().add(by);
        if before.as_ref() == Some(&record) { Ok(()) } else { self.write(&record) }
    }

    /// Whether anybody may use an image that is here.
    pub(crate) fn look(&self, asked: &Asked) -> io::Result<Verdict> {
        let under_way = self.under_way.lock();
        let record = self.record(&asked.image)?;
        // A note that cannot be read says that somebody pulled it.
        if record.is_none() && self.image(&asked.image).exists() {
            return Ok(Verdict::Restricted);
        }
        let record = record.unwrap_or_default();
        let free = match record.repositories.get(&asked.repository) {
            Some(access) => access.everybody,
            // It came under this name by no pod: unless one is just bringing it.
            None => !under_way.contains_key(&asked.reference),
        };
        Ok(if free { Verdict::Free } else { Verdict::Restricted })
    }

    /// Whether one of these secrets is as good as one by which the image was pulled.
    pub(crate) fn admits(&self, asked: &Asked, secrets: &[PullSecret]) -> io::Result<bool> {
        let _alone = self.under_way.lock();
        let record = self.record(&asked.image)?.unwrap_or_default();
        let Some(access) = record.repositories.get(&asked.repository) else { return Ok(false) };
        let Some(secret) = secrets.iter().find(|secret| access.admits(secret)) else { return Ok(false) };
        if !access.secrets.contains(secret) && access.secrets.len() < MOST_SECRETS {
            self.add(asked, Some(secret))?;
        }
        Ok(true)
    }

    /// Forgets images that are not here any more, but for what was noted since `begun`. `present` is asked once nobody can
    /// note the end of a pull: whoever does so later writes a note of the image that is not gone.
    pub(crate) fn prune(&self, present: impl FnOnce() -> BTreeSet<String>, begun: SystemTime) -> io::Result<()> {
        let _alone = self.under_way.lock();
        let present = present();
        for entry in fs::read_dir(self.images())? {
            let entry = entry?;
            let is_gone = read::<Record>(&entry.path())?.is_none_or(|record| !present.contains(&record.image));
            if is_gone && entry.metadata()?.modified()? < begun {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Record {
    fn of(image: &str) -> Self {
        Self { image: image.to_owned(), ..Self::default() }
    }
}

/// A reference has slashes and may be longer than a file name can be.
fn name(text: &str) -> String {
    mizzen_images::sha256(text.as_bytes())
}

/// `None` when there is no such file, or none that can be read.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, also for a power cut.
fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        store: std::sync::Arc<ImageStore>,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("makes a folder");
            let store = ImageStore::open(dir.path().join("store")).expect("opens");
            Self { dir, store }
        }

        fn open(&self) -> Pulled {
            Pulled::open(self.dir.path().join("pulled"), &self.store).expect("opens")
        }
    }

    fn asked(repository: &str) -> Asked {
        Asked { reference: format!("{repository}:v1"), repository: repository.into(), image: "sha256:1".into() }
    }

    fn secret(name: &str, hash: &str) -> PullSecret {
        PullSecret { uid: format!("uid-{name}"), namespace: "n".into(), name: name.into(), hash: hash.into() }
    }

    fn pull(pulled: &Pulled, asked: &Asked, by: Option<&PullSecret>) {
        pulled.begin(&asked.reference).expect("begins");
        pulled.succeeded(asked, by).expect("is noted");
    }

    #[test]
    fn an_image_that_nobody_pulled_is_free() {
        let place = Place::new();
        assert_eq!(place.open().look(&asked("r/a")).expect("looks"), Verdict::Free);
    }

    #[test]
    fn an_image_pulled_by_a_secret_is_for_that_secret_or_that_login_also_after_a_restart() {
        let place = Place::new();
        pull(&place.open(), &asked("r/a"), Some(&secret("s", "h")));
        let pulled = place.open();
        assert_eq!(pulled.look(&asked("r/a")).expect("looks"), Verdict::Restricted);
        let admits = |secrets: &[PullSecret]| pulled.admits(&asked("r/a"), secrets).expect("looks");
        assert!(!admits(&[]) && !admits(&[secret("t", "i")]));
        assert!(admits(&[secret("t", "i"), secret("s", "h")]));
        assert!(admits(&[secret("s", "changed")]), "the same secret with another login");
        assert!(admits(&[secret("u", "changed")]), "another secret with a login that is known by now");
        let other = asked("r/b");
        assert_eq!(pulled.look(&other).expect("looks"), Verdict::Free, "somebody brought the same under another name");
        assert!(!pulled.admits(&other, &[secret("s", "h")]).expect("looks"));
    }

    #[test]
    fn an_image_that_the_registry_gives_to_everybody_is_free_from_then_on() {
        let place = Place::new();
        let pulled = place.open();
        pull(&pulled, &asked("r/a"), Some(&secret("s", "h")));
        pull(&pulled, &asked("r/a"), None);
        pull(&pulled, &asked("r/a"), Some(&secret("t", "i")));
        assert_eq!(pulled.look(&asked("r/a")).expect("looks"), Verdict::Free);
    }

    #[test]
    fn a_pull_under_way_makes_nothing_free_and_one_that_failed_takes_nothing_away() {
        let place = Place::new();
        let pulled = place.open();
        let asked = asked("r/a");
        pulled.begin(&asked.reference).expect("begins");
        pulled.begin(&asked.reference).expect("begins");
        pulled.failed(&asked.reference).expect("ends");
        assert_eq!(pulled.look(&asked).expect("looks"), Verdict::Restricted);
        pulled.failed(&asked.reference).expect("ends");
        assert_eq!(pulled.look(&asked).expect("looks"), Verdict::Free);
    }

    #[test]
    fn what_is_gone_is_forgotten_but_not_what_came_meanwhile() {
        let place = Place::new();
        let pulled = place.open();
        let begun = SystemTime::UNIX_EPOCH;
        pull(&pulled, &asked("r/a"), Some(&secret("s", "h")));
        pulled.prune(BTreeSet::new, begun).expect("prunes");
        assert_eq!(pulled.look(&asked("r/a")).expect("looks"), Verdict::Restricted);
        let later = fs::metadata(pulled.image("sha256:1")).and_then(|file| file.modified()).expect("is there");
        let later = later + std::time::Duration::from_secs(1);
        pulled.prune(|| ["sha256:1".to_owned()].into(), later).expect("prunes");
        assert_eq!(pulled.look(&asked("r/a")).expect("looks"), Verdict::Restricted);
        pulled.prune(BTreeSet::new, later).expect("prunes");
        assert_eq!(pulled.look(&asked("r/a")).expect("looks"), Verdict::Free);
    }
}
