//! A directory tree as a layer's tar, in the order of names, so that one tree gives one digest.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header, HeaderMode};

use crate::ImageError;
use crate::blobs::io;

struct Walk<W: Write> {
    tar: Builder<W>,
    root: PathBuf,
    /// First names of files that have several.
    linked: BTreeMap<(u64, u64), PathBuf>,
}

pub(crate) fn write<W: Write>(root: &Path, into: W) -> Result<W, ImageError> {
    let mut tar = Builder::new(into);
    tar.follow_symlinks(false);
    let mut walk = Walk { tar, root: root.to_owned(), linked: BTreeMap::new() };
    walk.directory(Path::new(""))?;
    walk.tar.into_inner().map_err(io("archive", root))
}

impl<W: Write> Walk<W> {
    fn directory(&mut self, inside: &Path) -> Result<(), ImageError> {
        let dir = self.root.join(inside);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(io("read", &dir))? {
            names.push(entry.map_err(io("read", &dir))?.file_name());
        }
        names.sort();
        for name in names {
            let inside = inside.join(name);
            let path = self.root.join(&inside);
            let meta = std::fs::symlink_metadata(&path).map_err(io("look at", &path))?;
            self.entry(&inside, &path, &meta).map_err(io("archive", &path))?;
            if meta.is_dir() {
                self.directory(&inside)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, inside: &Path, path: &Path, meta: &Metadata) -> std::io::Result<()> {
        let kind = meta.file_type();
        if kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_metadata_in_mode(meta, HeaderMode::Complete);
        if kind.is_symlink() {
            header.set_size(0);
            return self.tar.append_link(&mut header, inside, std::fs::read_link(path)?);
        }
        if !kind.is_file() {
            header.set_size(0);
            return self.tar.append_data(&mut header, inside, std::io::empty());
        }
        if meta.nlink() > 1 {
            if let Some(first) = self.linked.get(&(meta.dev(), meta.ino())) {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                return self.tar.append_link(&mut header, inside, first);
            }
            self.linked.insert((meta.dev(), meta.ino()), inside.to_owned());
        }
        self.tar.append_data(&mut header, inside, File::open(path)?)
    }
}
