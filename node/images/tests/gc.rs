//! Which images a collection takes, and what of shared content.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mizzen_images::{Collect, Image, ImageConfig, ImageKind, ImageStore, layout};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// An image of a layer that all share and one of its own of about 1 MB, last used at second `used`.
async fn image(store: &Arc<ImageStore>, dir: &Path, name: &str, used: u64) -> Arc<Image> {
    let (base, own, layout) = (dir.join("base"), dir.join(format!("{name}-own")), dir.join(format!("{name}-layout")));
    std::fs::create_dir_all(&base).unwrap();
    std::fs::write(base.join("shared"), "everybody's").unwrap();
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join(name), vec![b'x'; 1 << 20]).unwrap();
    let reference = format!("example.com/{name}:1");
    layout::build_container(&layout, Some(&reference), &[&base, &own], &ImageConfig::default()).unwrap();
    let image = store.import(&layout, None).await.unwrap().remove(0);
    store.used(&image.reference, at(used)).unwrap();
    image
}

fn names(store: &Arc<ImageStore>) -> Vec<String> {
    store.list().iter().map(|image| image.reference.clone()).collect()
}

fn layers(image: &Image) -> Vec<bool> {
    let ImageKind::Container(container) = &image.kind else { panic!("is a container image") };
    container.layers.iter().map(|layer| layer.is_dir()).collect()
}

#[tokio::test]
async fn the_least_recently_used_go_until_enough_is_free_and_what_is_in_use_or_young_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path().join("store")).unwrap();
    let in_use = image(&store, dir.path(), "in-use", 1).await;
    let second = image(&store, dir.path(), "second", 20).await;
    let first = image(&store, dir.path(), "first", 10).await;
    let young = image(&store, dir.path(), "young", 100).await;
    let wanted = |bytes, in_use: &str| Collect { in_use: BTreeSet::from([in_use.to_owned()]), bytes, unused_since: at(99) };

    assert_eq!(store.gc(wanted(0, &in_use.id)).await.unwrap().images, [""; 0]);
    let removed = store.gc(wanted(1000, &in_use.id)).await.unwrap();
    assert_eq!(removed.images, std::slice::from_ref(&first.reference));
    assert!(removed.bytes > 1 << 20, "{removed:?}");
    assert_eq!(layers(&first), [true, false], "the shared layer stays");

    store.used(&second.reference, at(101)).unwrap();
    assert_eq!(store.gc(wanted(u64::MAX, &in_use.digest)).await.unwrap().images, [""; 0]);
    assert_eq!(names(&store), [&in_use.reference, &second.reference, &young.reference].map(String::clone));
    assert_eq!(layers(&in_use), [true, true]);
}

#[tokio::test]
async fn an_image_with_two_names_is_as_young_as_its_younger_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path().join("store")).unwrap();
    let one = image(&store, dir.path(), "one", 10).await;
    let again = store.import(&dir.path().join("one-layout"), Some("example.com/again:1")).await.unwrap().remove(0);
    store.used(&again.reference, at(100)).unwrap();
    let wanted = |unused_since| Collect { in_use: BTreeSet::new(), bytes: u64::MAX, unused_since };
    store.gc(wanted(at(99))).await.unwrap();
    assert_eq!(names(&store).len(), 2);
    assert_eq!(store.last_used(&one.reference), Some(at(10)));
    store.gc(wanted(at(100))).await.unwrap();
    assert!(names(&store).is_empty());
}

#[tokio::test]
async fn nothing_goes_while_what_an_image_needs_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path().join("store")).unwrap();
    let broken = image(&store, dir.path(), "broken", 10).await;
    let other = image(&store, dir.path(), "other", 10).await;
    let manifest = dir.path().join("store/blobs/sha256").join(broken.digest.strip_prefix("sha256:").unwrap());
    let bytes = std::fs::read(&manifest).unwrap();
    let wanted = |in_use: &[&str]| Collect {
        in_use: in_use.iter().map(|id| (*id).to_owned()).collect(),
        bytes: u64::MAX,
        unused_since: at(99),
    };
    // Unreadable for root too.
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    for in_use in [&[broken.digest.as_str()][..], &[]] {
        let error = store.gc(wanted(in_use)).await.unwrap_err().to_string();
        assert!(error.contains(&manifest.display().to_string()), "{error}");
        assert_eq!((layers(&broken), layers(&other)), (vec![true, true], vec![true, true]));
    }

    std::fs::remove_dir(&manifest).unwrap();
    std::fs::write(&manifest, "no manifest").unwrap();
    store.gc(wanted(&[&broken.digest])).await.unwrap_err();
    assert_eq!(layers(&broken), [true, true], "it is in use");
    std::fs::write(&manifest, bytes).unwrap();
    assert_eq!(store.gc(wanted(&[&broken.digest])).await.unwrap().images, std::slice::from_ref(&other.reference));
    std::fs::write(&manifest, "no manifest").unwrap();
    store.gc(wanted(&[])).await.unwrap();
    assert_eq!(layers(&broken), [false, false], "nobody can use it");
}
