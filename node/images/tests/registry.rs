//! Against Debian's docker-registry: what is pushed can be pulled, and what is pulled is right.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mizzen_images::{Collect, Credentials, Image, ImageError, ImageKind, ImageStore, Progress, layout, resolve_user};
use mizzen_tests::Registry;
use parking_lot::Mutex;
use support::{PASSWORD, USER, ann, busybox, settings, wasm};

fn store(dir: &Path) -> Arc<ImageStore> {
    ImageStore::open_with(dir.join("store"), settings()).unwrap()
}

fn build(dir: &Path) -> std::path::PathBuf {
    let (roots, config) = busybox(dir);
    let layout = dir.join("layout");
    let roots: Vec<&Path> = roots.iter().map(|r| r.as_path()).collect();
    layout::build_container(&layout, Some("example.com/busybox:1"), &roots, &config).unwrap();
    layout
}

async fn push(layout: &Path, target: &str, credentials: &Credentials) -> Result<String, ImageError> {
    mizzen_images::push_layout(layout, target, credentials, None).await
}

#[derive(Default)]
struct Watched {
    moved: Mutex<Vec<(String, u64, Option<u64>)>>,
    existed: Mutex<Vec<String>>,
    unpacked: Mutex<Vec<String>>,
}

impl Progress for Watched {
    fn transferred(&self, digest: &str, bytes: u64, total: Option<u64>) {
        self.moved.lock().push((digest.to_owned(), bytes, total));
    }
    fn exists(&self, digest: &str) {
        self.existed.lock().push(digest.to_owned());
    }
    fn unpacking(&self, digest: &str, done: bool) {
        if done {
            self.unpacked.lock().push(digest.to_owned());
        }
    }
}

fn layers(image: &Image) -> &[std::path::PathBuf] {
    match &image.kind {
        ImageKind::Container(container) => &container.layers,
        ImageKind::Wasm(_) => panic!("no container image"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_is_pulled_unpacked_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let store = store(dir.path());
    let layout = build(dir.path());
    let name = registry.reference("team/busybox:1");
    let digest = push(&layout, &name, &Credentials::Anonymous).await.unwrap();
    let watched = Arc::new(Watched::default());
    let image = store.pull(&name, &Credentials::Anonymous, Some(watched.clone())).await.unwrap();
    assert_eq!((&image.digest, &image.reference), (&digest, &name));
    let [base, top] = layers(&image) else { panic!("two layers") };
    assert_eq!(std::fs::read_to_string(top.join("www/index.html")).unwrap(), "hello");
    assert_eq!(std::fs::metadata(top.join("www/index.html")).unwrap().uid(), 33);
    let (busybox, ls) = (base.join("bin/busybox"), base.join("bin/ls"));
    assert_eq!(std::fs::metadata(&busybox).unwrap().ino(), std::fs::metadata(ls).unwrap().ino(), "hard links are kept");
    assert_eq!(std::fs::read(&busybox).unwrap(), std::fs::read("/bin/busybox").unwrap());
    assert_eq!(std::fs::read_link(base.join("bin/sh")).unwrap(), Path::new("/bin/busybox"));
    let hidden = std::fs::symlink_metadata(top.join("etc/motd")).unwrap();
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0, "a whiteout as overlayfs has it");
    let config = image.config();
    assert_eq!((config.user.as_str(), config.stop_signal.as_str(), config.working_dir.as_str()), ("web", "SIGINT", "/www"));
    assert_eq!(config.env, ["PATH=/bin", "A=b"]);
    let user = resolve_user(layers(&image), &config.user).unwrap();
    assert_eq!((user.uid, user.gid, user.home.as_str()), (33, 34, "/www"));
    let moved = watched.moved.lock();
    let whole = moved.iter().filter(|(_, bytes, total)| Some(*bytes) == *total).count();
    assert_eq!((whole, watched.unpacked.lock().len()), (3, 2), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_found_by_tag_digest_and_id_also_by_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let first = store(dir.path());
    let name = registry.reference("busybox:1");
    push(&build(dir.path()), &name, &Credentials::Anonymous).await.unwrap();
    let other = store(dir.path());
    assert!(other.get(&name).is_none());
    let image = first.pull(&name, &Credentials::Anonymous, None).await.unwrap();
    let repository = registry.reference("busybox");
    for reference in [
        name.clone(),
        image.id.clone(),
        image.digest.clone(),
        image.id["sha256:".len()..].to_owned(),
        image.id["sha256:".len()..][..12].to_owned(),
        format!("{repository}@{}", image.digest),
    ] {
        assert_eq!(other.get(&reference).as_ref(), Some(&image), "{reference}");
    }
    for reference in ["", "nginx", &registry.reference("busybox:2"), &registry.reference("other:1"), "sha256:0000", "../x"] {
        assert!(other.get(reference).is_none(), "{reference}");
    }
    assert_eq!(other.list(), std::slice::from_ref(&image));
    let by_digest = first.pull(&format!("{repository}@{}", image.digest), &Credentials::Anonymous, None).await.unwrap();
    assert_eq!(by_digest.id, image.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_is_not_fetched_again_and_concurrent_pulls_share() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let store = store(dir.path());
    let name = registry.reference("busybox:1");
    push(&build(dir.path()), &name, &Credentials::Anonymous).await.unwrap();
    let watched = Arc::new(Watched::default());
    let pulls = (0..5).map(|_| store.pull(&name, &Credentials::Anonymous, Some(watched.clone())));
    let images: Vec<_> = futures::future::join_all(pulls).await.into_iter().map(Result::unwrap).collect();
    assert!(images.iter().all(|i| *i == images[0]));
    let moved = watched.moved.lock();
    let whole: Vec<_> = moved.iter().filter(|(_, bytes, total)| Some(*bytes) == *total).map(|(d, ..)| d).collect();
    let distinct: BTreeSet<_> = whole.iter().collect();
    assert_eq!((whole.len(), distinct.len()), (3, 3), "each blob was fetched once");
    assert_eq!(watched.existed.lock().len(), 4 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_passwords_wants_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::with_login(USER, PASSWORD);
    let store = store(dir.path());
    let layout = build(dir.path());
    let name = registry.reference("private/busybox:1");
    push(&layout, &name, &ann()).await.unwrap();
    let wrong = Credentials::Basic { username: "ann".into(), password: "hunter2".into() };
    for credentials in [Credentials::Anonymous, wrong] {
        let error = store.pull(&name, &credentials, None).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
        assert!(error.to_string().contains("imagePullSecrets") && !error.to_string().contains("hunter2"));
        let error = push(&layout, &name, &credentials).await.unwrap_err();
        assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
    }
    store.pull(&name, &ann(), None).await.unwrap();
    let error = store.pull(&name, &Credentials::Anonymous, None).await.unwrap_err();
    assert!(matches!(error, ImageError::Unauthorized { .. }), "having the content is no permission: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_or_answer_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let store = store(dir.path());
    let error = store.pull(&registry.reference("nothing:1"), &Credentials::Anonymous, None).await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    for wrong in ["", "two words", "https://example.com/x", "x:y:z", "x@sha256:12"] {
        let error = store.pull(wrong, &Credentials::Anonymous, None).await.unwrap_err();
        assert_eq!((error.reason(), matches!(error, ImageError::Reference { .. })), ("InvalidImageName", true), "{wrong}");
    }
    drop(registry);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = store.pull(&format!("{nobody}/x:1"), &Credentials::Anonymous, None).await.unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }) && error.to_string().contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wasm_artifact_and_a_wasm_entrypoint_are_wasm() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let store = store(dir.path());
    let module = wasm(dir.path());
    let artifact = dir.path().join("artifact");
    layout::build_wasm(&artifact, None, &module).unwrap();
    let name = registry.reference("app:wasm");
    push(&artifact, &name, &Credentials::Anonymous).await.unwrap();
    let image = store.pull(&name, &Credentials::Anonymous, None).await.unwrap();
    let ImageKind::Wasm(found) = &image.kind else { panic!("{image:?}") };
    assert_eq!(std::fs::read(&found.path).unwrap(), std::fs::read(&module).unwrap());

    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("srv")).unwrap();
    std::fs::copy(&module, root.join("srv/app.wasm")).unwrap();
    let config = mizzen_images::ImageConfig { entrypoint: vec!["/srv/app.wasm".into()], ..Default::default() };
    let inside = dir.path().join("inside");
    layout::build_wasi_container(&inside, None, &[&root], &config).unwrap();
    let image = store.import(&inside, Some("example.com/inside:1")).await.unwrap().remove(0);
    let ImageKind::Wasm(same) = &image.kind else { panic!("{image:?}") };
    assert_eq!(same.digest, found.digest, "the digest is the module's, wherever it lies");
    assert_eq!(store.get("example.com/inside:1"), Some(image));

    std::fs::write(root.join("srv/app.wasm"), "#!/bin/sh").unwrap();
    layout::build_wasi_container(&inside, Some("example.com/script:1"), &[&root], &config).unwrap();
    let error = store.import(&inside, Some("example.com/script:1")).await.unwrap_err();
    assert!(matches!(error, ImageError::Wasm { .. }) && error.to_string().contains("is no Wasm"), "{error}");
    assert!(store.get("example.com/script:1").is_none());
    std::fs::write(&module, "nothing").unwrap();
    assert!(matches!(layout::build_wasm(&artifact, None, &module), Err(ImageError::Wasm { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_folder_gives_its_images_and_a_stored_one_is_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let store = store(dir.path());
    let images = store.import(&build(dir.path()), None).await.unwrap();
    assert_eq!(images.iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(), ["example.com/busybox:1"]);
    let name = registry.reference("copied:1");
    let digest = store.push("example.com/busybox:1", &name, &Credentials::Anonymous, None).await.unwrap();
    assert_eq!(digest, images[0].digest);
    assert_eq!(store.pull(&name, &Credentials::Anonymous, None).await.unwrap().id, images[0].id);
    let error = store.import(dir.path(), None).await.unwrap_err();
    assert!(matches!(error, ImageError::Layout { .. }), "{error}");
    let error = store.push("nobody:1", &name, &Credentials::Anonymous, None).await.unwrap_err();
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_leaves_the_old_image_known_until_nobody_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let store = store(dir.path());
    let name = registry.reference("moving:1");
    push(&build(dir.path()), &name, &Credentials::Anonymous).await.unwrap();
    let old = store.pull(&name, &Credentials::Anonymous, None).await.unwrap();
    std::fs::write(dir.path().join("top/www/index.html"), "new").unwrap();
    let (base, top) = (dir.path().join("base"), dir.path().join("top"));
    let next = dir.path().join("next");
    layout::build_container(&next, None, &[&base, &top], old.config()).unwrap();
    push(&next, &name, &Credentials::Anonymous).await.unwrap();
    let new = store.pull(&name, &Credentials::Anonymous, None).await.unwrap();
    assert_ne!(new.id, old.id);
    assert_eq!(store.get(&old.id).unwrap().id, old.id);
    assert_eq!(layers(&new)[0], layers(&old)[0], "the unchanged layer is shared");

    let all_but = |ids: &[&String]| Collect {
        in_use: ids.iter().map(|id| (*id).clone()).collect(),
        bytes: u64::MAX,
        unused_since: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40),
    };
    store.gc(all_but(&[&old.id, &new.id])).await.unwrap();
    assert!(layers(&old).iter().all(|l| l.is_dir()));
    let removed = store.gc(all_but(&[&new.id])).await.unwrap();
    assert_eq!((removed.images.len(), removed.bytes > 0), (1, true));
    assert!(layers(&new).iter().all(|l| l.is_dir()) && !layers(&old)[1].exists());
    assert!(store.get(&old.id).is_none());
    assert!(store.remove(&name).unwrap() && !store.remove(&name).unwrap());
    store.gc(all_but(&[])).await.unwrap();
    let left = ["layers", "blobs/sha256", "refs", "unfinished"].map(|d| std::fs::read_dir(store.root().join(d)).unwrap().count());
    assert_eq!(left, [0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulled_layers_stacked_by_overlayfs_are_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let image = store.import(&build(dir.path()), None).await.unwrap().remove(0);
    let lower: Vec<_> = layers(&image).iter().rev().map(|l| l.to_str().unwrap()).collect();
    let root = dir.path().join("merged");
    std::fs::create_dir(&root).unwrap();
    // In a mount namespace of its own: it goes with the process.
    let script =
        "mount -t overlay overlay -o ro,lowerdir=$0 $1 && exec chroot $1 /bin/sh -c '/bin/busybox cat /www/index.html; ls /etc'";
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", script, &lower.join(":"), root.to_str().unwrap()])
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "hellopasswd\n", "motd is hidden; {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_went_bad_on_disk_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let name = registry.reference("busybox:1");
    let pushed = push(&build(dir.path()), &name, &Credentials::Anonymous).await.unwrap();
    let store = store(dir.path());
    let image = store.pull(&name, &Credentials::Anonymous, None).await.unwrap();
    for layer in layers(&image) {
        std::fs::remove_dir_all(layer).unwrap();
    }
    assert!(store.get(&name).is_none(), "an image without its layers is none");
    for blob in std::fs::read_dir(store.root().join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        if blob.metadata().unwrap().len() > 100_000 {
            std::fs::write(blob.path(), "rotten").unwrap();
        }
    }
    store.pull(&name, &Credentials::Anonymous, None).await.unwrap_err();
    let again = store.pull(&name, &Credentials::Anonymous, None).await.unwrap();
    assert_eq!((&again.digest, store.get(&name).as_ref()), (&pushed, Some(&again)));
}

/// In a network namespace of its own, where 10.99.0.1 is this machine and yet no loopback name.
#[test]
fn a_registry_elsewhere_is_spoken_to_by_tls_only() {
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        for args in [["link", "set", "lo", "up"].as_slice(), &["addr", "add", "10.99.0.1/32", "dev", "lo"]] {
            assert!(std::process::Command::new("ip").args(args).status().unwrap().success());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let listener = tokio::net::TcpListener::bind("10.99.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let hello = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut first = [0; 3];
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
                first
            });
            let credentials = ann();
            let error = store(dir.path()).pull(&format!("10.99.0.1:{port}/x:1"), &credentials, None).await.unwrap_err();
            assert!(matches!(error, ImageError::Unreachable { .. } | ImageError::Stalled { .. }), "{error}");
            assert_eq!(hello.await.unwrap()[..2], [0x16, 0x03], "a TLS handshake, not a password");
        });
    });
    thread.join().unwrap();
}
