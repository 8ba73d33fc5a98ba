//! What was at work for an object, on disk: a server that starts takes it up again, whatever the registry or a later and
//! worse wish of the object's say.

use std::path::{Path, PathBuf};

use mizzen_api::ObjectRef;
use serde::{Deserialize, Serialize};

use crate::wanted::Terms;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) uid: String,
    /// The reference that it was loaded by.
    pub(crate) image: String,
    /// The digest of the image's manifest.
    pub(crate) manifest: String,
    pub(crate) terms: Terms,
}

impl Record {
    /// The image itself, whatever its tag is by now.
    pub(crate) fn pinned(&self) -> String {
        format!("{}@{}", mizzen_images::repository(&self.image), self.manifest)
    }
}

/// The records of the objects of one kind: a file each.
#[derive(Clone, Debug)]
pub(crate) struct Records(PathBuf);

impl Records {
    pub(crate) fn open(folder: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Neither part of a name has an underscore.
    fn path(&self, object: &ObjectRef) -> PathBuf {
        self.0.join(format!("{}_{}.json", object.namespace, object.name))
    }

    pub(crate) fn read(&self, object: &ObjectRef) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.path(object)).ok()?).ok()
    }

    pub(crate) fn write(&self, object: &ObjectRef, record: &Record) -> std::io::Result<()> {
        let path = self.path(object);
        let aside = path.with_extension("new");
        std::fs::write(&aside, serde_json::to_vec(record)?)?;
        sync(&aside)?;
        std::fs::rename(&aside, &path)?;
        sync(&self.0)
    }

    pub(crate) fn remove(&self, object: &ObjectRef) {
        // Most often there is none.
        let _ = std::fs::remove_file(self.path(object));
    }

    /// The manifests that records of all kinds name, whose folders lie side by side.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let read = |path: PathBuf| serde_json::from_slice::<Record>(&std::fs::read(path).ok()?).ok();
        let kinds = self.0.parent().into_iter().flat_map(entries);
        kinds.flat_map(|folder| entries(&folder)).filter_map(read).map(|record| record.manifest).collect()
    }
}

fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_its_object_and_names_its_image_by_digest() {
        let folder = tempfile::tempdir().expect("makes");
        let records = Records::open(folder.path().join("policies")).expect("opens");
        let record = Record {
            uid: "u".to_owned(),
            image: "127.0.0.1:5000/a/b:v1".to_owned(),
            manifest: "sha256:12".to_owned(),
            terms: Terms::default(),
        };
        let object = ObjectRef::new("n", "a");
        records.write(&object, &record).expect("writes");
        assert_eq!(records.read(&object), Some(record.clone()));
        assert_eq!(records.read(&ObjectRef::cluster("a")), None);
        assert_eq!(
            (records.manifests(), record.pinned().as_str()),
            (vec!["sha256:12".to_owned()], "127.0.0.1:5000/a/b@sha256:12")
        );
        records.remove(&object);
        assert_eq!(records.read(&object), None);
    }
}
