//! nginx as Debian packages it, as an image in three layers: its libraries, the program, its configuration.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run;
use crate::executables::mizzen;
use crate::images::push;
use crate::registry::Registry;

/// Runs as www-data (33) too, if it can write `/var/lib/nginx`; serves what is in `/etc/nginx/conf.d`.
const CONFIGURATION: &str = "
daemon off;
worker_processes 2;
pid /var/lib/nginx/nginx.pid;
error_log /dev/stderr notice;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 256; }
http {
  include /etc/nginx/mime.types;
  access_log /dev/stdout;
  include /etc/nginx/conf.d/*.conf;
}
";

/// Builds and pushes it. `version` is what `/etc/nginx/version` says.
///
/// # Panics
/// When nginx-light is not installed, or the image cannot be built or pushed.
pub fn image(registry: &Registry, name: &str, version: &str) -> String {
    let work = tempfile::tempdir().expect("a folder");
    let [base, program, configuration] = ["base", "program", "configuration"].map(|layer| work.path().join(layer));

    let files = installed();
    let programs: Vec<_> =
        files.iter().filter(|file| file.starts_with("/usr/sbin") || file.starts_with("/usr/lib/nginx")).collect();
    assert!(programs.iter().any(|file| file.ends_with("nginx")), "nginx-light is installed (.ci/setup): {programs:?}");
    for library in programs.iter().flat_map(|file| libraries(file)).collect::<BTreeSet<_>>() {
        copy(&library, &base);
    }
    for file in ["passwd", "group"] {
        copy(&Path::new("/etc").join(file), &base);
    }
    for dir in ["tmp", "run", "var/lib/nginx", "var/log/nginx"] {
        std::fs::create_dir_all(base.join(dir)).expect("makes");
    }
    for file in files.iter().filter(|file| file.starts_with("/usr") && !file.starts_with("/usr/share/doc")) {
        copy(file, &program);
    }
    for file in files.iter().filter(|file| file.starts_with("/etc/nginx")) {
        copy(file, &configuration);
    }
    let etc = configuration.join("etc/nginx");
    for dir in ["conf.d", "modules-enabled"] {
        std::fs::create_dir_all(etc.join(dir)).expect("makes");
    }
    for module in files.iter().filter(|file| file.starts_with("/usr/share/nginx/modules-available")) {
        symlink(module, etc.join("modules-enabled").join(module.file_name().expect("is a file"))).expect("links");
    }
    std::fs::write(etc.join("nginx.conf"), CONFIGURATION).expect("writes");
    std::fs::write(etc.join("version"), version).expect("writes");

    let layout = work.path().join("layout");
    let mut build = mizzen();
    build.args(["image", "build"]).arg(&layout);
    for layer in [base, program, configuration] {
        build.arg("--root").arg(layer);
    }
    // nginx ends at once on SIGTERM, and after its last answer on SIGQUIT.
    build.args(["--env", "PATH=/usr/sbin", "--entrypoint", "/usr/sbin/nginx", "--stop-signal", "SIGQUIT"]);
    run(&mut build).ok();
    push(registry, &layout, name)
}

/// The files that nginx-light and what it is made of have installed.
fn installed() -> Vec<PathBuf> {
    let packages = ["nginx-light", "nginx", "nginx-common", "libnginx-mod-http-echo"];
    let listed = packages.map(|package| run(Command::new("dpkg").args(["-L", package])).stdout).concat();
    let files = listed.lines().map(PathBuf::from);
    files.filter(|file| file.symlink_metadata().is_ok_and(|meta| !meta.is_dir())).collect()
}

/// The libraries that a program or module is linked with, by the names that the loader looks for.
pub(crate) fn libraries(file: &Path) -> Vec<PathBuf> {
    let said = run(Command::new("ldd").arg(file)).stdout;
    said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Copies what a file holds to the same path below `root`.
pub(crate) fn copy(file: &Path, root: &Path) {
    let target = root.join(file.strip_prefix("/").expect("is absolute"));
    std::fs::create_dir_all(target.parent().expect("is below the root")).expect("makes");
    if file.is_dir() {
        return symlink(std::fs::read_link(file).expect("a link to a folder"), target).expect("links");
    }
    std::fs::copy(file, &target).unwrap_or_else(|error| panic!("copy {}: {error}", file.display()));
}
