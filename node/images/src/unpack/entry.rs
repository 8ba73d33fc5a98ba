//! The entries of one archive, one by one.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use tar::{Archive, Entry, EntryType};

use super::broken;
use super::budget::Budget;
use super::root::{PathError, Place, Root};
use crate::{ImageError, Settings};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bookkeeping of an older format; means nothing to anybody.
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// What an entry's header says of its inode.
struct Meta {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: i64,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

struct Extraction<'a> {
    root: Root,
    into: &'a Path,
    layer: &'a str,
    /// Set last, since making a child changes its directory's.
    directory_times: Vec<(Vec<u8>, i64)>,
}

pub(super) fn open_up(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

pub(super) fn extract_all(tar: &mut impl Read, into: &Path, layer: &str, settings: &Settings) -> Result<(), ImageError> {
    let too_large = |what, limit| ImageError::TooLarge { layer: layer.to_owned(), what, limit };
    let root = Root::open(into, settings.entry_depth).map_err(crate::blobs::io("open", into))?;
    let mut extraction = Extraction { root, into, layer, directory_times: Vec::new() };
    let budget = Budget::default();
    let mut archive = Archive::new(budget.bound(tar));
    let mut all = archive.entries().map_err(|e| broken(layer, &e))?;
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    loop {
        // The tar crate reads what describes an entry into memory before it answers it.
        budget.allow(settings.entry_headers);
        let Some(entry) = all.next() else { break };
        let mut entry = entry.map_err(|e| match budget.is_spent() {
            true => too_large("what describes one entry (long names, PAX records)", settings.entry_headers),
            false => broken(layer, &e),
        })?;
        budget.lift();
        entries += 1;
        if entries > settings.layer_entries {
            return Err(too_large("its number of entries", settings.layer_entries));
        }
        bytes = bytes.saturating_add(entry.size());
        if bytes > settings.layer_bytes {
            return Err(too_large("its size", settings.layer_bytes));
        }
        extraction.entry(&mut entry)?;
        // Content of what has none, as of a directory: what is left unread would count as the next entry's headers.
        io::copy(&mut entry, &mut io::sink()).map_err(|e| broken(layer, &e))?;
    }
    budget.lift();
    extraction.finish()
}

impl Extraction<'_> {
    fn failed(&self, path: &[u8], error: PathError) -> ImageError {
        let entry = String::from_utf8_lossy(path).into_owned();
        match error {
            PathError::Escape(why) => ImageError::Escape { layer: self.layer.to_owned(), entry, why },
            PathError::TooLong { what, limit } => {
                let why =
                    format!("entry {:?}… is {what} beyond the limit of {limit}", entry.chars().take(60).collect::<String>());
                ImageError::Archive { layer: self.layer.to_owned(), why }
            }
            // The machine's trouble is not the archive's.
            PathError::Io(source)
                if matches!(
                    source.raw_os_error(),
                    Some(libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EROFS | libc::EMFILE | libc::ENFILE | libc::ENOMEM)
                ) =>
            {
                ImageError::Io { operation: "unpack a layer into", path: self.into.to_owned(), source }
            }
            PathError::Io(e) => match broken(self.layer, &e) {
                truncated @ ImageError::Truncated { .. } => truncated,
                _ => ImageError::Archive { layer: self.layer.to_owned(), why: format!("entry {entry:?}: {e}") },
            },
        }
    }

    fn forbidden(&self, path: &[u8], kind: &'static str) -> ImageError {
        let entry = String::from_utf8_lossy(path).into_owned();
        ImageError::ForbiddenEntry { layer: self.layer.to_owned(), entry, kind }
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), ImageError> {
        let path = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        match kind {
            EntryType::XGlobalHeader => return Ok(()),
            EntryType::Char => return Err(self.forbidden(&path, "character device")),
            EntryType::Block => return Err(self.forbidden(&path, "block device")),
            EntryType::Regular
            | EntryType::Continuous
            | EntryType::GNUSparse
            | EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Fifo => {}
            _ => return Err(self.forbidden(&path, "file of an unknown type")),
        }
        let meta = meta(entry).map_err(|e| self.failed(&path, PathError::Io(e)))?;
        self.make(&path, kind, &meta, entry).map_err(|e| self.failed(&path, e))
    }

    fn make(&mut self, path: &[u8], kind: EntryType, meta: &Meta, entry: &mut Entry<'_, impl Read>) -> Result<(), PathError> {
        let Some(place) = self.root.place(path, true)? else {
            // The root directory itself.
            if kind == EntryType::Directory {
                let place = Place { dir: self.root.directory(&[], false)?, name: ".".into() };
                apply(&place, meta, kind)?;
                self.directory_times.push((path.to_owned(), meta.mtime));
            }
            return Ok(());
        };
        let name = place.name.as_bytes();
        if name.starts_with(WHITEOUT) {
            return whiteout(&place);
        }
        match kind {
            EntryType::Directory => {
                let hides = clear(&place, true)?;
                match mkdirat(&place.dir, place.name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(e) => return Err(e.into()),
                }
                apply(&place, meta, kind)?;
                if hides {
                    xattr::set(place.path(), OPAQUE_ATTRIBUTE, b"y").map_err(PathError::Io)?;
                }
                self.directory_times.push((path.to_owned(), meta.mtime));
                Ok(())
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL)?;
                clear(&place, false)?;
                symlinkat(OsStr::from_bytes(&target), &place.dir, place.name.as_os_str())?;
                apply(&place, meta, kind)
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL)?;
                let from = self.root.place(&target, false)?.ok_or(Errno::EISDIR)?;
                if same(&from, &place)? {
                    return Ok(());
                }
                clear(&place, false)?;
                linkat(&from.dir, from.name.as_os_str(), &place.dir, place.name.as_os_str(), AtFlags::empty())?;
                Ok(())
            }
            EntryType::Fifo => {
                clear(&place, false)?;
                mknodat(&place.dir, place.name.as_os_str(), SFlag::S_IFIFO, Mode::from_bits_truncate(0o600), 0)?;
                apply(&place, meta, kind)
            }
            _ => {
                clear(&place, false)?;
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = openat(&place.dir, place.name.as_os_str(), flags, Mode::from_bits_truncate(0o600))?;
                let mut file = File::from(file);
                let size = entry.size();
                let copied = io::copy(entry, &mut file).map_err(PathError::Io)?;
                if copied < size {
                    return Err(PathError::Io(io::ErrorKind::UnexpectedEof.into()));
                }
                apply(&place, meta, kind)
            }
        }
    }

    fn finish(self) -> Result<(), ImageError> {
        for (path, mtime) in self.directory_times.iter().rev() {
            let set = || -> Result<(), PathError> {
                let dir = self.root.directory(&super::root::names(path)?, false)?;
                utimensat(&dir, ".", &time(*mtime), &time(*mtime), UtimensatFlags::NoFollowSymlink)?;
                Ok(())
            };
            match set() {
                // A later entry took the directory's place.
                Err(PathError::Io(e)) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
                other => other.map_err(|e| self.failed(path, e))?,
            }
        }
        Ok(())
    }
}

fn meta(entry: &mut Entry<'_, impl Read>) -> io::Result<Meta> {
    let mut xattrs = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") {
                xattrs.push((OsStr::from_bytes(name).to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other(format!("owner {id} is no user or group id")));
    Ok(Meta {
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mode: header.mode()? & 0o7777,
        mtime: i64::try_from(header.mtime()?).unwrap_or(0),
        xattrs,
    })
}

fn stat(place: &Place) -> Result<Option<FileStat>, Errno> {
    match fstatat(&place.dir, place.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn same(a: &Place, b: &Place) -> Result<bool, Errno> {
    let (Some(a), Some(b)) = (stat(a)?, stat(b)?) else { return Ok(false) };
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

/// Makes room for an entry: a later entry replaces an earlier one, but a directory stays a directory. True when what was
/// there was a whiteout.
fn clear(place: &Place, directory: bool) -> Result<bool, PathError> {
    let Some(stat) = stat(place)? else { return Ok(false) };
    if is(&stat, SFlag::S_IFDIR) {
        if !directory {
            std::fs::remove_dir_all(place.path()).map_err(PathError::Io)?;
        }
        return Ok(false);
    }
    unlinkat(&place.dir, place.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
    Ok(is(&stat, SFlag::S_IFCHR))
}

/// Turns a whiteout of the archive into overlayfs's.
fn whiteout(place: &Place) -> Result<(), PathError> {
    let name = place.name.as_bytes();
    if name == OPAQUE {
        let dir = Place { dir: place.dir.try_clone().map_err(PathError::Io)?, name: ".".into() };
        return xattr::set(dir.path(), OPAQUE_ATTRIBUTE, b"y").map_err(PathError::Io);
    }
    if name.starts_with(WHITEOUT_META) {
        return Ok(());
    }
    let hidden = OsStr::from_bytes(&name[WHITEOUT.len()..]);
    if hidden.is_empty() || hidden == "." || hidden == ".." {
        return Err(PathError::Escape("it hides what is no name".into()));
    }
    let hidden = Place { dir: place.dir.try_clone().map_err(PathError::Io)?, name: hidden.to_owned() };
    match stat(&hidden)? {
        // Both hidden and made anew by this layer.
        Some(stat) if is(&stat, SFlag::S_IFDIR) => xattr::set(hidden.path(), OPAQUE_ATTRIBUTE, b"y").map_err(PathError::Io),
        Some(_) => Ok(()),
        None => Ok(mknodat(&hidden.dir, hidden.name.as_os_str(), SFlag::S_IFCHR, Mode::empty(), 0)?),
    }
}

fn time(seconds: i64) -> TimeSpec {
    TimeSpec::new(seconds, 0)
}

/// Owner first: changing it takes away set-id bits and capabilities.
fn apply(place: &Place, meta: &Meta, kind: EntryType) -> Result<(), PathError> {
    let name = place.name.as_os_str();
    let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
    fchownat(&place.dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if kind != EntryType::Symlink {
        // Opened without following, so that the mode is never a link's target's.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&place.dir, name, flags, Mode::empty())?;
        fchmod(&file, Mode::from_bits_truncate(meta.mode))?;
        let file = File::from(file);
        for (attribute, value) in meta.xattrs.iter().filter(|(name, _)| may_set(name)) {
            use xattr::FileExt as _;
            match file.set_xattr(attribute, value) {
                Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    tracing::debug!(?attribute, "the file system has no such attribute");
                }
                other => other.map_err(PathError::Io)?,
            }
        }
    }
    utimensat(&place.dir, name, &time(meta.mtime), &time(meta.mtime), UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// Overlayfs's own attributes would let a layer redirect what is below it.
fn may_set(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.starts_with(b"trusted.") && !name.starts_with(b"user.overlay.")
}
