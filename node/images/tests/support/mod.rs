//! Small images, and who may have them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mizzen_images::{Credentials, ImageConfig, Settings};

pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) fn ann() -> Credentials {
    Credentials::Basic { username: USER.into(), password: PASSWORD.into() }
}

/// Tries again soon, and waits as long as a busy machine may take.
pub(crate) fn settings() -> Settings {
    Settings { attempts: 3, backoff: Duration::from_millis(5), longest_wait: Duration::from_secs(3), ..Settings::default() }
}

/// Two layers: Debian's static busybox with links to it, and what is configured on top.
pub(crate) fn busybox(dir: &Path) -> (Vec<PathBuf>, ImageConfig) {
    let (base, top) = (dir.join("base"), dir.join("top"));
    std::fs::create_dir_all(base.join("bin")).unwrap();
    std::fs::create_dir_all(base.join("etc")).unwrap();
    std::fs::copy("/bin/busybox", base.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", base.join("bin/sh")).unwrap();
    std::fs::hard_link(base.join("bin/busybox"), base.join("bin/ls")).unwrap();
    std::fs::write(base.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/www:/bin/sh\n").unwrap();
    std::fs::write(base.join("etc/motd"), "old").unwrap();
    std::fs::create_dir_all(top.join("etc")).unwrap();
    std::fs::create_dir_all(top.join("www")).unwrap();
    std::fs::write(top.join("www/index.html"), "hello").unwrap();
    std::os::unix::fs::chown(top.join("www/index.html"), Some(33), Some(34)).unwrap();
    std::fs::write(top.join("etc/.wh.motd"), "").unwrap();
    let config = ImageConfig {
        entrypoint: vec!["/bin/sh".into(), "-c".into()],
        cmd: vec!["echo hi".into()],
        env: vec!["PATH=/bin".into(), "A=b".into()],
        working_dir: "/www".into(),
        user: "web".into(),
        stop_signal: "SIGINT".into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
    };
    (vec![base, top], config)
}

/// The smallest core module.
pub(crate) fn wasm(dir: &Path) -> PathBuf {
    let path = dir.join("app.wasm");
    std::fs::File::create(&path).unwrap().write_all(b"\0asm\x01\0\0\0").unwrap();
    path
}
