//! A registry that stalls, limits, fails and lies: each gives its own error, and leaves nothing in the store.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_images::{Credentials, ImageConfig, ImageError, ImageStore, Settings, layout};
use mizzen_tests::hostile::{Answer, Fake, Script};

struct Fixture {
    dir: tempfile::TempDir,
    manifest: Vec<u8>,
    digest: String,
    config: (String, Vec<u8>),
    layer: (String, Vec<u8>),
    /// What answers takes no such time, however busy the machine is.
    stall: Duration,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("file"), vec![b'x'; 100_000]).unwrap();
        let folder = dir.path().join("layout");
        let digest = layout::build_container(&folder, None, &[&root], &ImageConfig::default()).unwrap();
        let blob = |digest: &str| std::fs::read(folder.join("blobs/sha256").join(&digest["sha256:".len()..])).unwrap();
        let manifest = blob(&digest);
        let parsed: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let named = |value: &serde_json::Value| {
            let digest = value["digest"].as_str().unwrap().to_owned();
            let bytes = blob(&digest);
            (digest, bytes)
        };
        Self {
            config: named(&parsed["config"]),
            layer: named(&parsed["layers"][0]),
            manifest,
            digest,
            dir,
            stall: Settings::default().stall,
        }
    }

    fn script(&self) -> Script {
        Script::default()
            .on("1", vec![Answer::Whole(self.manifest.clone())])
            .on(&self.digest, vec![Answer::Whole(self.manifest.clone())])
            .on(&self.config.0, vec![Answer::Whole(self.config.1.clone())])
            .on(&self.layer.0, vec![Answer::Whole(self.layer.1.clone())])
    }

    fn with_layer(&self, answers: Vec<Answer>) -> Script {
        self.script().on(&self.layer.0, answers)
    }

    fn with_manifest(&self, answers: Vec<Answer>) -> Script {
        self.script().on("1", answers)
    }

    fn store(&self) -> Arc<ImageStore> {
        let settings = Settings {
            stall: self.stall,
            attempts: 3,
            backoff: Duration::from_millis(5),
            longest_wait: Duration::from_secs(2),
            ..Settings::default()
        };
        ImageStore::open_with(self.dir.path().join("store"), settings).unwrap()
    }

    /// Pulls and expects an error, after which the image is not there and nothing is half done.
    async fn refused(&self, script: Script) -> (ImageError, Fake) {
        let fake = Fake::start(script).await;
        let store = self.store();
        let error = store.pull(&fake.name("x:1"), &Credentials::Anonymous, None).await.unwrap_err();
        assert!(store.list().is_empty(), "{error}");
        assert_eq!(count(&store.root().join("unfinished")), 0, "{error}");
        assert_eq!(count(&store.root().join("layers")), 0, "{error}");
        (error, fake)
    }

    async fn pulled(&self, script: Script) -> Fake {
        let fake = Fake::start(script).await;
        self.store().pull(&fake.name("x:1"), &Credentials::Anonymous, None).await.unwrap();
        fake
    }
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[tokio::test]
async fn a_registry_that_stops_answering_has_stalled_and_says_where() {
    let fixture = Fixture { stall: Duration::from_secs(2), ..Fixture::new() };
    let (error, fake) = fixture.refused(fixture.with_manifest(vec![Answer::StallAfter(vec![], 0)])).await;
    assert!(matches!(error, ImageError::Stalled { .. }) && error.to_string().contains("the manifest"), "{error}");
    assert!(fake.asked("1") <= 1, "a stall is not waited out several times");
    let (error, fake) = fixture.refused(fixture.with_layer(vec![Answer::StallAfter(fixture.layer.1.clone(), 50)])).await;
    assert!(matches!(error, ImageError::Stalled { .. }) && error.to_string().contains(&fixture.layer.0), "{error}");
    assert_eq!(fake.asked(&fixture.layer.0), 1, "a stall is not waited out several times");
}

#[tokio::test]
async fn a_slow_registry_that_moves_may_take_its_time() {
    // A pause is a third of a stall and all four together are more than one, with seconds to spare on a busy machine.
    let fixture = Fixture { stall: Duration::from_secs(9), ..Fixture::new() };
    let start = Instant::now();
    fixture.pulled(fixture.with_layer(vec![Answer::Slowly(fixture.layer.1.clone(), Duration::from_secs(3))])).await;
    assert!(start.elapsed() > fixture.stall, "longer than a stall");
}

#[tokio::test]
async fn a_limited_registry_is_waited_for_as_long_as_it_asks() {
    let fixture = Fixture::new();
    let limited = Answer::Status(429, "Retry-After: 1\r\n");
    let start = Instant::now();
    let fake = fixture.pulled(fixture.with_manifest(vec![limited.clone(), Answer::Whole(fixture.manifest.clone())])).await;
    // HEAD is answered as the next GET would be: this one would succeed, so waiting is not asked for any more.
    assert_eq!(fake.asked("1"), 2);
    let fixture = Fixture::new();
    let (error, fake) = fixture.refused(fixture.with_manifest(vec![limited])).await;
    assert!(matches!(error, ImageError::RateLimited { attempts: 3, .. }), "{error}");
    assert!(start.elapsed() > Duration::from_secs(2), "two waits of a second");
    assert_eq!(fake.asked("1"), 3);
    let (error, fake) = fixture.refused(fixture.with_manifest(vec![Answer::Status(429, "Retry-After: 3600\r\n")])).await;
    assert!(matches!(error, ImageError::RateLimited { attempts: 1, .. }), "{error}");
    assert_eq!(fake.asked("1"), 1, "an hour is not waited for");
}

#[tokio::test]
async fn a_failing_registry_is_tried_a_few_times() {
    let fixture = Fixture::new();
    let failing = Answer::Status(500, "");
    let flaky = vec![failing.clone(), failing.clone(), Answer::Whole(fixture.layer.1.clone())];
    let fake = fixture.pulled(fixture.with_layer(flaky)).await;
    assert_eq!(fake.asked(&fixture.layer.0), 3);
    let fixture = Fixture::new();
    let (error, fake) = fixture.refused(fixture.with_layer(vec![failing])).await;
    assert!(matches!(error, ImageError::ServerError { status: 500, attempts: 3, .. }), "{error}");
    assert_eq!(fake.asked(&fixture.layer.0), 3);
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_and_then_truncated() {
    let fixture = Fixture::new();
    let cut = Answer::CutAfter(fixture.layer.1.clone(), 50);
    fixture.pulled(fixture.with_layer(vec![cut.clone(), Answer::Whole(fixture.layer.1.clone())])).await;
    let fixture = Fixture::new();
    let short = Answer::Whole(fixture.layer.1[..50].to_vec());
    for answer in [cut, short] {
        let (error, fake) = fixture.refused(fixture.with_layer(vec![answer])).await;
        assert!(matches!(error, ImageError::Truncated { .. }), "{error}");
        assert_eq!(fake.asked(&fixture.layer.0), 3);
    }
}

#[tokio::test]
async fn content_that_is_not_its_digest_is_refused_at_once() {
    let fixture = Fixture::new();
    let mut other = fixture.layer.1.clone();
    other[20] ^= 1;
    let longer = [fixture.layer.1.as_slice(), b"more"].concat();
    for lie in [other, longer] {
        let (error, fake) = fixture.refused(fixture.with_layer(vec![Answer::Whole(lie)])).await;
        assert!(matches!(error, ImageError::DigestMismatch { .. }) && error.to_string().contains(&fixture.layer.0), "{error}");
        assert_eq!(fake.asked(&fixture.layer.0), 1);
    }
    let fake = Fake::start(fixture.script().on(&fixture.digest, vec![Answer::Whole(b"{}".to_vec())])).await;
    let by_digest = fake.name(&format!("x@{}", fixture.digest));
    let error = fixture.store().pull(&by_digest, &Credentials::Anonymous, None).await.unwrap_err();
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn documents_that_are_no_image_are_refused_with_the_reason() {
    let fixture = Fixture::new();
    let manifest = String::from_utf8(fixture.manifest.clone()).unwrap();
    let index =
        r#"{"schemaVersion":2,"manifests":[{"digest":"DIGEST","size":1,"platform":{"os":"plan9","architecture":"mips"}}]}"#;
    let cases = [
        ("<html>please log in</html>".to_owned(), "no OCI manifest"),
        ("{}".to_owned(), "no OCI manifest"),
        (manifest.replace("sha256:", "md5:"), "is not sha256"),
        (manifest.replace("\"layers\":[", "\"layers\":[],\"was\":["), "0 layers, its config 1 diff_ids"),
        (index.replace("DIGEST", &fixture.digest), "plan9/mips"),
        (manifest.replace(&fixture.config.0, "sha256:../../../../../../etc/passwd"), "is not sha256 and 64"),
    ];
    for (document, why) in cases {
        let (error, _) = fixture.refused(fixture.with_manifest(vec![Answer::Whole(document.into())])).await;
        assert!(error.to_string().contains(why), "{error}");
    }
}
