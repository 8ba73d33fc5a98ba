//! Images, built and pushed by the real command.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::command::run;
use crate::executables::{guest, mizzen, sample_module};
use crate::nginx;
use crate::registry::Registry;

/// Debian's static busybox with a web page, answering HTTP on port 8080 by default. Answers its reference.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn busybox(registry: &Registry, name: &str) -> String {
    busybox_with(registry, name, &[])
}

/// The same with programs of this machine, and what they are linked with.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn busybox_with(registry: &Registry, name: &str, programs: &[&str]) -> String {
    let work = tempfile::tempdir().expect("a folder");
    let (base, page) = (work.path().join("base"), work.path().join("page"));
    for dir in ["bin", "tmp", "etc", "root"] {
        std::fs::create_dir_all(base.join(dir)).expect("makes");
    }
    std::fs::copy("/bin/busybox", base.join("bin/busybox")).expect("busybox-static is installed (.ci/setup)");
    for applet in [
        "sh", "ls", "cat", "sleep", "httpd", "echo", "env", "id", "true", "false", "touch", "hostname", "kill", "trap", "nc",
        "stty", "grep", "pwd", "nslookup",
    ] {
        symlink("busybox", base.join("bin").join(applet)).expect("links");
    }
    std::fs::write(base.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n").expect("writes");
    for program in programs.iter().map(Path::new) {
        for file in nginx::libraries(program).iter().map(PathBuf::as_path).chain([program]) {
            nginx::copy(file, &base);
        }
    }
    std::fs::write(base.join("etc/nsswitch.conf"), "hosts: files dns\n").expect("writes");
    std::fs::create_dir_all(page.join("www")).expect("makes");
    std::fs::write(page.join("www/index.html"), format!("hello from {name}\n")).expect("writes");
    let layout = work.path().join("layout");
    let mut build = mizzen();
    build.args(["image", "build"]).arg(&layout);
    build.arg("--root").arg(&base).arg("--root").arg(&page);
    build.args(["--env", "PATH=/bin", "--entrypoint", "/bin/httpd"]);
    build.args(["--cmd=-f", "--cmd=-p", "--cmd=8080", "--cmd=-h", "--cmd=/www"]);
    run(&mut build).ok();
    push(registry, &layout, name)
}

/// One of the Wasm guests of `examples/`. Answers its reference.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn wasm(registry: &Registry, guest_name: &str, name: &str) -> String {
    let work = tempfile::tempdir().expect("a folder");
    let layout = work.path().join("layout");
    run(mizzen().args(["image", "build"]).arg(&layout).arg("--wasm").arg(guest(guest_name))).ok();
    push(registry, &layout, name)
}

/// A scheduler plugin of `plugins/samples`, made and sent by its author's commands. Answers its reference.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn sample(registry: &Registry, sample: &str, name: &str) -> String {
    let project = tempfile::tempdir().expect("a folder");
    let module = sample_module(sample);
    let manifest = format!("name: {sample}\nkind: scheduler\nbuild: []\nmodule: {}\n", module.display());
    std::fs::write(project.path().join("plugin.yaml"), manifest).expect("writes");
    let reference = registry.reference(name);
    run(mizzen().args(["plugin", "build"]).arg(project.path())).ok();
    run(mizzen().args(["plugin", "push", &reference, "--plugin"]).arg(project.path())).ok();
    reference
}

/// An artifact that begins like a component and is none. Answers its reference.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn not_wasm(registry: &Registry, name: &str) -> String {
    component(registry, b"\0asm\x0d\0\x01\0and then this", name)
}

/// An artifact of these bytes. Answers its reference.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn component(registry: &Registry, bytes: &[u8], name: &str) -> String {
    let work = tempfile::tempdir().expect("a folder");
    let (file, layout) = (work.path().join("component.wasm"), work.path().join("layout"));
    std::fs::write(&file, bytes).expect("writes");
    run(mizzen().args(["image", "build"]).arg(&layout).arg("--wasm").arg(&file)).ok();
    push(registry, &layout, name)
}

/// The layout folder of an image that sleeps, made below `work`.
///
/// # Panics
/// When it cannot be built.
pub fn sleeper(work: &Path) -> PathBuf {
    let (root, layout) = (work.join("root"), work.join("layout"));
    std::fs::create_dir_all(root.join("bin")).expect("makes");
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed (.ci/setup)");
    let mut build = mizzen();
    build.args(["image", "build"]).arg(&layout).arg("--root").arg(&root);
    run(build.args(["--entrypoint", "/bin/busybox", "--cmd", "sleep", "--cmd", "3600"])).ok();
    layout
}

/// The only layer of an artifact.
pub struct Layer {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    pub annotations: Value,
}

/// Writes the layout folder of an artifact as other tools make it: its config with its media type, its layer, and the
/// annotations of its manifest.
///
/// # Panics
/// When it cannot be written.
pub fn lay_out(folder: &Path, (config, config_type): (&str, &str), layer: &Layer, annotations: &Value) {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("makes");
    let blob = |bytes: &[u8], media_type: &str| {
        let digest = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        std::fs::write(blobs.join(&digest), bytes).expect("writes");
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let mut described = blob(&layer.bytes, layer.media_type);
    described["annotations"] = layer.annotations.clone();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(config.as_bytes(), config_type),
        "layers": [described], "annotations": annotations});
    let manifest = blob(manifest.to_string().as_bytes(), MANIFEST);
    let write = |name: &str, document: Value| std::fs::write(folder.join(name), document.to_string()).expect("writes");
    write("oci-layout", json!({"imageLayoutVersion": "1.0.0"}));
    write("index.json", json!({"schemaVersion": 2, "manifests": [manifest]}));
}

pub(crate) fn push(registry: &Registry, layout: &Path, name: &str) -> String {
    let reference = registry.reference(name);
    run(mizzen().args(["image", "push"]).arg(layout).arg(&reference)).ok();
    reference
}
