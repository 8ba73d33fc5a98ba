//! Which uid and gids an image's user is.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::ImageError;
use crate::unpack::root::open_file_in;

/// More is no user database.
const LONGEST: u64 = 4 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Groups of `/etc/group` that list the user.
    pub additional_gids: Vec<u32>,
    /// From `/etc/passwd`; empty when the user is not in it.
    pub home: String,
}

/// Reads `user[:group]` by the image's own `/etc/passwd` and `/etc/group`; `layers` are the unpacked ones, lowest first
/// (or one root directory). An empty user is root; a number needs no entry.
///
/// # Errors
/// [`ImageError::User`] when a name is in neither file.
pub fn resolve_user(layers: &[PathBuf], user: &str) -> Result<User, ImageError> {
    let passwd = read(layers, "etc/passwd");
    let group = read(layers, "etc/group");
    decide(&passwd, &group, user).map_err(|why| ImageError::User { user: user.to_owned(), why })
}

/// Of the uppermost layer that has it or hides it; empty when there is none.
fn read(layers: &[PathBuf], path: &str) -> String {
    for layer in layers.iter().rev() {
        if let Ok(file) = open_file_in(layer, Path::new(path)) {
            return text(file);
        }
        let hidden = |part: &str| {
            std::fs::symlink_metadata(layer.join(part)).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
        };
        let opaque = xattr::get(layer.join("etc"), "trusted.overlay.opaque").is_ok_and(|v| v.is_some());
        if hidden(path) || hidden("etc") || opaque {
            return String::new();
        }
    }
    String::new()
}

fn text(file: File) -> String {
    let mut bytes = Vec::new();
    match file.take(LONGEST).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|l| !l.starts_with('#')).map(|l| l.trim_end().split(':').collect())
}

fn decide(passwd: &str, group: &str, user: &str) -> Result<User, String> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    // A number is a uid, whatever an entry is called: an image must not make one somebody else.
    let fits = |row: &Vec<&str>| row.len() >= 4 && number.map_or(row[0] == user, |number| row[2].parse() == Ok(number));
    let known = rows(passwd).find(fits);
    let mut found = User::default();
    let mut name = user;
    match (&known, number) {
        (Some(row), _) => {
            name = row[0];
            found.uid = row[2].parse().map_err(|_| format!("its entry in the image's /etc/passwd has uid {:?}", row[2]))?;
            found.gid = row[3].parse().map_err(|_| format!("its entry in the image's /etc/passwd has gid {:?}", row[3]))?;
            found.home = row.get(5).map(|s| (*s).to_owned()).unwrap_or_default();
        }
        (None, Some(uid)) => found.uid = uid,
        (None, None) => return Err("no such user in the image's /etc/passwd; use a number, or runAsUser".into()),
    }
    if let Some(wanted) = wanted_group {
        let by_name = || rows(group).find(|row| row.len() >= 3 && row[0] == wanted).and_then(|row| row[2].parse().ok());
        let gid = wanted.parse().ok();
        found.gid = gid
            .or_else(by_name)
            .ok_or_else(|| format!("no group {wanted:?} in the image's /etc/group; use a number, or runAsGroup"))?;
    } else if known.is_some() {
        let lists = |row: &Vec<&str>| row.len() >= 4 && row[3].split(',').any(|member| member == name);
        found.additional_gids = rows(group).filter(lists).filter_map(|row| row[2].parse().ok()).collect();
        found.additional_gids.retain(|gid| *gid != found.gid);
        found.additional_gids.sort_unstable();
        found.additional_gids.dedup();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\nnginx:x:101:102::/nonexistent:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nnginx:x:102:\nadm:x:4:root,nginx\nssl:x:105:nginx\n";

    fn of(user: &str) -> (u32, u32, Vec<u32>) {
        let user = decide(PASSWD, GROUP, user).unwrap();
        (user.uid, user.gid, user.additional_gids)
    }

    #[test]
    fn a_user_is_looked_up_by_name_or_number_with_its_groups() {
        assert_eq!(of("nginx"), (101, 102, vec![4, 105]));
        assert_eq!(of("101"), (101, 102, vec![4, 105]));
        assert_eq!(of(""), (0, 0, vec![4]));
        assert_eq!(of("nginx:adm"), (101, 4, vec![]));
        assert_eq!(of("nginx:77"), (101, 77, vec![]));
        assert_eq!(of("5000"), (5000, 0, vec![]));
        assert_eq!(of("5000:6000"), (5000, 6000, vec![]));
        assert_eq!(decide(PASSWD, GROUP, "nginx").unwrap().home, "/nonexistent");
    }

    #[test]
    fn a_number_is_nobodys_name() {
        let found = decide("1000:x:0:0::/:/bin/sh\n", "77:x:0:\n", "1000:77").unwrap();
        assert_eq!((found.uid, found.gid), (1000, 77));
    }

    #[test]
    fn a_name_that_the_image_lacks_is_an_error_that_names_it() {
        assert!(decide(PASSWD, GROUP, "ann").unwrap_err().contains("/etc/passwd"));
        assert!(decide(PASSWD, GROUP, "nginx:staff").unwrap_err().contains("\"staff\""));
        assert!(decide("", "", "-1").is_err());
    }

    #[test]
    fn the_uppermost_layer_counts_and_links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let layers: Vec<_> = ["low", "high"].map(|l| dir.path().join(l)).into();
        for layer in &layers {
            std::fs::create_dir_all(layer.join("etc")).unwrap();
        }
        std::fs::write(layers[0].join("etc/passwd"), "ann:x:7:8::/:/bin/sh\n").unwrap();
        assert_eq!(resolve_user(&layers, "ann").unwrap().uid, 7);
        std::fs::write(layers[1].join("accounts"), "ann:x:9:8::/:/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("/accounts", layers[1].join("etc/passwd")).unwrap();
        assert_eq!(resolve_user(&layers, "ann").unwrap().uid, 9);
    }
}
