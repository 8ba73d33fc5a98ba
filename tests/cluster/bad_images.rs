//! Images that lie and registries that fail: each tells its pod why, and everything else runs on.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use mizzen_tests::cluster::http;
use mizzen_tests::hostile::{Answer, Fake, Handmade, Script, Tar};
use mizzen_tests::{Cluster, eventually};
use tar::EntryType;

const WEB: [&str; 6] = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h"];

/// Busybox and whatever follows.
fn busybox() -> Tar {
    Tar::default().file("bin/busybox", &std::fs::read("/bin/busybox").unwrap()).file("www/index.html", b"untouched\n")
}

fn image(tar: Tar) -> Handmade {
    Handmade::of(&tar.bytes(), &[&WEB[..], &["/www"]].concat())
}

#[test]
fn a_bad_image_or_registry_tells_its_pod_why_and_leaves_everything_else_running() {
    // What an escaping layer would overwrite.
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let (folder, up) = (outside.path().to_str().unwrap(), "../".repeat(12));

    let good = image(busybox());
    let mut script = good.tagged(Script::default(), "good", Answer::Whole(good.layer.clone()));
    let mut expected = Vec::new();
    let mut bad = |tag: &'static str, image: Handmade, answer: fn(Vec<u8>) -> Answer, why: &'static str| {
        script = image.tagged(script.clone(), tag, answer(image.layer.clone()));
        expected.push((tag, why));
    };
    bad("dots", image(busybox().file(&format!("{up}{folder}/victim"), b"x")), Answer::Whole, "would leave the root directory");
    let link = busybox().entry(EntryType::Symlink, "out", folder, b"").file("out/victim", b"x");
    bad("symlink", image(link), Answer::Whole, "would leave the root directory");
    let link = busybox().entry(EntryType::Link, "out", &format!("{up}{folder}/victim"), b"");
    bad("hardlink", image(link), Answer::Whole, "would leave the root directory");
    bad("device", image(busybox().entry(EntryType::Block, "disk", "", b"")), Answer::Whole, "which an image must not bring");
    let lie = |mut layer: Vec<u8>| {
        layer[2000] ^= 1;
        Answer::Whole(layer)
    };
    bad("digest", image(busybox().file("a", b"1")), lie, "is not what its digest says");
    bad("short", image(busybox().file("a", b"2")), |layer| Answer::Whole(layer[..layer.len() / 2].to_vec()), "is truncated");
    bad("cut", image(busybox().file("a", b"3")), |layer| Answer::CutAfter(layer.clone(), layer.len() / 2), "is truncated");
    bad("stalled", image(busybox().file("a", b"4")), |layer| Answer::StallAfter(layer, 1000), "sent nothing for 30 s");
    bad("limited", image(busybox().file("a", b"5")), |_| Answer::Status(429, ""), "limits requests (429)");
    bad("broken", image(busybox().file("a", b"6")), |_| Answer::Status(500, ""), "failed with status 500");
    // The digest is right, the archive within ends too early.
    let tar = busybox().file("a", b"7").bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let truncated = Handmade::new(&tar, &gzip[..gzip.len() / 2], "application/vnd.oci.image.layer.v1.tar+gzip", &WEB);
    bad("truncated", truncated, Answer::Whole, "is truncated");
    let script = script.on("nonsense", vec![Answer::Whole(b"<html>please log in</html>".to_vec())]);
    expected.push(("nonsense", "no OCI manifest"));

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let registry = runtime.block_on(Fake::start(script));
    let cluster = Cluster::up();
    cluster.run("good", &registry.name("images:good"));
    let manifests = expected.iter().map(|(tag, _)| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {tag}}}\nspec: {{containers: [{{name: main, image: '{}'}}]}}\n",
            registry.name(&format!("images:{tag}"))
        )
    });
    cluster.apply(&manifests.collect::<String>());

    for (tag, why) in expected {
        let message = eventually(&format!("the events of {tag} say: {why}"), || {
            cluster.events(tag).into_iter().find(|message| message.contains("Failed to pull image") && message.contains(why))
        });
        assert!(message.lines().count() == 1 && message.len() < 600, "it is for people to read: {message}");
        let waiting = cluster.until(&["pod", tag], "waits", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str().map(str::to_owned)
        });
        assert!(["ErrImagePull", "ImagePullBackOff"].contains(&waiting.as_str()), "{tag}: {waiting}");
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(http(cluster.pod_address("good"), 8080).ok(), "untouched\n", "the others run on");
    let pod = cluster.get(&["pod", "good"]).unwrap();
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    runtime.shutdown_timeout(Duration::ZERO);
}
