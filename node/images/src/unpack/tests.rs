//! Archives as hostile as they can be made, unpacked as root.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

/// A store in a directory that holds a file nobody may touch.
struct Bench {
    dir: TempDir,
    paths: Paths,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("victim"), "untouched").unwrap();
        let paths = Paths::new(dir.path().join("store"));
        for d in [paths.blobs(), paths.layers(), paths.unfinished()] {
            std::fs::create_dir_all(d).unwrap();
        }
        Self { dir, paths }
    }

    fn unpack_with(&self, tar: &[u8], blob: &[u8], settings: &Settings) -> Result<PathBuf, ImageError> {
        let blob = self.paths.write(blob).unwrap();
        let diff_id = Digest::of(tar);
        let done = unpack(&self.paths, settings, &blob, &diff_id);
        let victim = std::fs::read_dir(self.dir.path()).unwrap().count();
        assert_eq!(victim, 2, "something was put beside the store");
        assert_eq!(std::fs::read_to_string(self.dir.path().join("victim")).unwrap(), "untouched");
        if done.is_err() {
            assert!(!self.paths.layer(&diff_id).exists(), "a broken layer has a name");
            assert_eq!(std::fs::read_dir(self.paths.unfinished()).unwrap().count(), 0, "a broken layer left something");
        }
        done.map(|()| self.paths.layer(&diff_id))
    }

    fn unpack(&self, tar: &[u8]) -> Result<PathBuf, ImageError> {
        self.unpack_with(tar, tar, &Settings::default())
    }
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(tar).unwrap();
    gz.finish().unwrap()
}

/// Names go in as they are, also those that the tar crate would refuse to write.
#[derive(Default)]
struct Tar {
    tar: Vec<u8>,
}

impl Tar {
    fn header(kind: EntryType, name: &str, size: u64, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header
    }

    fn push(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        let header = Self::header(EntryType::Regular, name, content.len() as u64, 0o644);
        self.push(header, content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.push(Self::header(EntryType::Directory, name, 0, 0o755), b"")
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name, 0, 0o777);
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.push(header, b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    fn end(mut self) -> Vec<u8> {
        self.tar.extend([0; 1024]);
        self.tar
    }
}

#[test]
fn an_entry_that_would_leave_the_root_is_refused() {
    let up = "../../../victim";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("dots", Tar::default().file(up, "x").end()),
        ("dots inside", Tar::default().dir("a").file("a/../../../../victim", "x").end()),
        ("through an absolute link", Tar::default().symlink("a", "/tmp").file("a/evil", "x").end()),
        ("through a relative link", Tar::default().symlink("a", "../../..").file("a/victim", "x").end()),
        ("through two links", Tar::default().symlink("a", ".").symlink("b", "a/../../..").file("b/victim", "x").end()),
        ("through a link to nothing", Tar::default().symlink("a", "nowhere").file("a/b", "x").end()),
        ("through a loop", Tar::default().symlink("a", "b").symlink("b", "a").file("a/c", "x").end()),
        ("directory through a link", Tar::default().symlink("a", "/").dir("a/evil").end()),
        ("link in a linked directory", Tar::default().symlink("a", "/").symlink("a/evil", "x").end()),
        ("hard link up", Tar::default().link(EntryType::Link, "a", up).end()),
        ("hard link through a link", Tar::default().symlink("l", "/etc").link(EntryType::Link, "a", "l/passwd").end()),
        ("whiteout of dots", Tar::default().dir("a").file("a/.wh...", "").end()),
        ("whiteout through a link", Tar::default().symlink("a", "/").file("a/.wh.etc", "").end()),
        ("opaque through a link", Tar::default().symlink("a", "/").file("a/.wh..wh..opq", "").end()),
    ];
    for (name, tar) in cases {
        let bench = Bench::new();
        let error = bench.unpack(&tar).unwrap_err();
        assert!(matches!(error, ImageError::Escape { .. }), "{name}: {error}");
        assert!(error.to_string().contains("would leave the root directory"), "{name}: {error}");
    }
}

#[test]
fn a_link_may_point_anywhere_and_replacing_it_touches_only_the_link() {
    let bench = Bench::new();
    let victim = bench.dir.path().join("victim");
    let tar = Tar::default()
        .symlink("sh", "/bin/busybox")
        .symlink("v", victim.to_str().unwrap())
        .file("v", "mine")
        .symlink("lib", "usr/lib")
        .dir("usr/lib")
        .file("lib/x", "through a link inside")
        .file("/etc/hosts", "absolute names begin at the root")
        .end();
    let layer = bench.unpack(&tar).unwrap();
    assert_eq!(std::fs::read_link(layer.join("sh")).unwrap(), PathBuf::from("/bin/busybox"));
    assert_eq!(std::fs::read_to_string(layer.join("v")).unwrap(), "mine");
    assert!(layer.join("usr/lib/x").is_file() && layer.join("etc/hosts").is_file());
}

#[test]
fn devices_are_refused_by_name() {
    for (kind, word) in [(EntryType::Char, "character device"), (EntryType::Block, "block device")] {
        let tar = Tar::default().push(Tar::header(kind, "dev/sda", 0, 0o666), b"").end();
        let error = Bench::new().unpack(&tar).unwrap_err();
        assert!(matches!(error, ImageError::ForbiddenEntry { .. }), "{error}");
        assert!(error.to_string().contains("dev/sda") && error.to_string().contains(word), "{error}");
    }
}

#[test]
fn an_archive_that_ends_early_is_truncated() {
    let noise: String = (0..40_000_u32).map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let tar = Tar::default().file("a", &noise).end();
    let packed = [tar.clone(), gzip(&tar), zstd::encode_all(tar.as_slice(), 1).unwrap()];
    for whole in packed {
        let error = Bench::new().unpack_with(&tar, &whole[..whole.len() / 2], &Settings::default()).unwrap_err();
        assert!(matches!(error, ImageError::Truncated { .. }), "{error}");
        let bench = Bench::new();
        let layer = bench.unpack_with(&tar, &whole, &Settings::default()).unwrap();
        assert_eq!(std::fs::read_to_string(layer.join("a")).unwrap(), noise);
    }
}

#[test]
fn what_is_no_archive_and_what_is_another_one_is_said() {
    let bench = Bench::new();
    let noise = vec![7; 4096];
    let error = bench.unpack(&noise).unwrap_err();
    assert!(matches!(error, ImageError::Archive { .. }), "{error}");
    let (one, other) = (Tar::default().file("a", "1").end(), Tar::default().file("a", "2").end());
    let error = bench.unpack_with(&one, &other, &Settings::default()).unwrap_err();
    assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error}");
}

#[test]
fn bombs_are_bounded_in_bytes_and_entries() {
    let small = Settings { layer_bytes: 1 << 20, layer_entries: 10, ..Settings::default() };
    let bomb = Tar::default().push(Tar::header(EntryType::Regular, "a", 8 << 30, 0o644), b"").end();
    let error = Bench::new().unpack_with(&bomb, &bomb, &small).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { what: "its size", .. }), "{error}");
    let many = (0..11).fold(Tar::default(), |tar, i| tar.file(&format!("f{i}"), "")).end();
    let error = Bench::new().unpack_with(&many, &many, &small).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { what: "its number of entries", .. }), "{error}");
    let mut padded = Tar::default().file("a", "1").end();
    padded.resize(64 << 20, 0);
    let error = Bench::new().unpack_with(&padded, &gzip(&padded), &small).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
}

/// An archive that has no end: the header, and zeros.
fn endless_header(kind: EntryType) -> impl Read {
    let mut header = Tar::header(kind, "././@LongLink", 16 << 30, 0o644);
    header.set_cksum();
    io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(b'x'))
}

#[test]
fn what_describes_an_entry_is_bounded_before_it_is_read() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let into = tempfile::tempdir().unwrap();
        let mut read = Hashing::new(endless_header(kind));
        let error = entry::extract_all(&mut read, into.path(), "l", &Settings::default()).unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { limit: 1_048_576, .. }), "{kind:?}: {error}");
        assert!(read.count() <= 1 << 20, "{kind:?}: {} bytes were read", read.count());
    }
}

#[test]
fn long_names_and_attributes_within_the_limit_are_taken_also_after_content_that_nobody_reads() {
    let bench = Bench::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    // A directory with content, as no sane archive has: it is not the next entry's.
    let start = Tar::default().push(Tar::header(EntryType::Directory, "odd", 2 << 20, 0o755), &vec![0; 2 << 20]);
    let mut name = Tar::header(EntryType::GNULongName, "././@LongLink", long.len() as u64 + 1, 0o644);
    name.set_cksum();
    let tar = start.push(name, format!("{long}\0").as_bytes()).file("short", "content").end();
    let layer = bench.unpack(&tar).unwrap();
    assert_eq!(std::fs::read_to_string(layer.join(long)).unwrap(), "content");
}

#[test]
fn paths_are_bounded_in_length_and_depth_also_through_links() {
    let long = |name: String| {
        let mut header = Tar::header(EntryType::GNULongName, "././@LongLink", name.len() as u64, 0o644);
        header.set_cksum();
        Tar::default().push(header, name.as_bytes())
    };
    // Each link leads 40 directories deeper than the one before.
    let deep = ["a/"; 40].concat();
    let mut linked = Tar::default();
    for (link, base) in [("l1", ""), ("l2", "l1/"), ("l3", "l2/")] {
        linked = linked.dir(&format!("{base}{deep}")).symlink(link, &format!("{base}{deep}"));
    }
    let cases = [long("n/".repeat(2500)).file("x", "").end(), long("a/".repeat(300)).dir("x").end(), linked.end()];
    let settings = Settings { entry_depth: 100, ..Settings::default() };
    for tar in cases {
        let error = Bench::new().unpack_with(&tar, &tar, &settings).unwrap_err();
        assert!(error.to_string().contains("beyond the limit of"), "{error}");
    }
}

#[test]
fn whiteouts_become_overlayfs_s() {
    let bench = Bench::new();
    let tar = Tar::default()
        .file("etc/.wh.gone", "")
        .dir("opaque")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "")
        .file(".wh.again", "")
        .dir("again")
        .file("again/x", "")
        .dir("later")
        .file(".wh.later", "")
        .file(".wh..wh.plnk", "")
        .end();
    let layer = bench.unpack(&tar).unwrap();
    let gone = std::fs::symlink_metadata(layer.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |name: &str| xattr::get(layer.join(name), "trusted.overlay.opaque").unwrap();
    for name in ["opaque", "again", "later"] {
        assert_eq!(opaque(name).as_deref(), Some(b"y".as_slice()), "{name}");
    }
    assert_eq!(opaque("etc"), None);
    assert!(layer.join("opaque/new").is_file() && !layer.join(".wh..wh.plnk").exists());
}

#[test]
fn owner_mode_times_and_attributes_are_kept_and_overlayfs_s_own_are_not_taken() {
    let bench = Bench::new();
    let mut builder = Builder::new(Vec::new());
    let attributes = [
        ("SCHILY.xattr.user.note", b"hi".as_slice()),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
    ];
    builder.append_pax_extensions(attributes).unwrap();
    let mut header = Tar::header(EntryType::Regular, "", 2, 0o4755);
    header.set_uid(1000);
    header.set_gid(1001);
    builder.append_data(&mut header, "tool", b"ok".as_slice()).unwrap();
    let mut header = Tar::header(EntryType::Directory, "", 0, 0o1777);
    builder.append_data(&mut header, "tmp", io::empty()).unwrap();
    let mut header = Tar::header(EntryType::Regular, "", 0, 0o600);
    builder.append_data(&mut header, "tmp/child", io::empty()).unwrap();
    let layer = bench.unpack(&builder.into_inner().unwrap()).unwrap();
    let tool = std::fs::metadata(layer.join("tool")).unwrap();
    assert_eq!((tool.uid(), tool.gid(), tool.permissions().mode() & 0o7777, tool.mtime()), (1000, 1001, 0o4755, 1_000_000_000));
    let names: Vec<_> = xattr::list(layer.join("tool")).unwrap().collect();
    assert_eq!(names, [OsStr::new("user.note")]);
    let tmp = std::fs::metadata(layer.join("tmp")).unwrap();
    assert_eq!((tmp.permissions().mode() & 0o7777, tmp.mtime()), (0o1777, 1_000_000_000), "also after a child was made");
    assert_eq!(std::fs::metadata(&layer).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn later_entries_replace_earlier_ones_and_hard_links_share() {
    let bench = Bench::new();
    let tar = Tar::default()
        .file("a", "old")
        .file("a", "new")
        .link(EntryType::Link, "b", "a")
        .link(EntryType::Link, "b", "a")
        .dir("d")
        .file("d/x", "")
        .file("d", "now a file")
        .file("e", "")
        .dir("e")
        .push(Tar::header(EntryType::Fifo, "pipe", 0, 0o600), b"")
        .end();
    let layer = bench.unpack(&tar).unwrap();
    let ino = |name: &str| std::fs::metadata(layer.join(name)).unwrap().ino();
    assert_eq!((std::fs::read_to_string(layer.join("a")).unwrap(), ino("a")), ("new".to_owned(), ino("b")));
    assert!(layer.join("d").is_file() && layer.join("e").is_dir());
    assert!(std::fs::metadata(layer.join("pipe")).unwrap().file_type().is_fifo());
    let missing = Tar::default().link(EntryType::Link, "a", "nothing").end();
    assert!(matches!(bench.unpack(&missing), Err(ImageError::Archive { .. })));
}
