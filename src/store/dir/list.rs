//! Listing a directory tree in key order, a page at a time.

use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

use super::{Inner, files, owner};
use crate::model::object::ObjectKey;
use crate::store::Listed;

/// Up to `limit` files whose keys begin with `prefix` and follow `after`.
pub fn list(root: &OwnedFd, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>> {
    let mut page = Page { root, prefix, after: after.map_or("", ObjectKey::as_str), limit, found: Vec::new() };
    // The directory that holds every key with this prefix.
    let start = prefix.rfind('/').map_or("", |at| &prefix[..at]);
    page.directory(start)?;
    Ok(page.found)
}

/// Up to `limit` directories below `path`, in order, after `after`.
pub fn folders(root: &OwnedFd, path: &str, after: &str, limit: usize) -> Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(root, path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut names = BinaryHeap::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." || name <= after || !is_directory(root, &entry, &format!("{path}/{name}"))? {
            continue;
        }
        names.push(name.to_owned());
        if names.len() > limit {
            names.pop();
        }
    }
    Ok(names.into_sorted_vec())
}

fn is_directory(root: &OwnedFd, entry: &DirEntry, key: &str) -> Result<bool> {
    Ok(match entry.file_type() {
        // Some file systems do not say.
        FileType::Unknown => FileType::from_raw_mode(files::stat(root, key)?.st_mode) == FileType::Directory,
        known => known == FileType::Directory,
    })
}

/// Adds every record of a store to its filter of what is present. `store` gives the store as long as it is in use.
pub fn scan(store: impl Fn() -> Option<Arc<Inner>>) {
    let mut directories = vec![String::new()];
    while let (Some(path), Some(store)) = (directories.pop(), store()) {
        let scanned = scan_directory(&store, &path, &mut directories);
        if let Err(e) = scanned {
            tracing::warn!(error = %e, "the directory could not be scanned: lookups of what is absent stay slower");
            store.presence.give_up();
        }
        if directories.is_empty() {
            store.presence.complete();
        }
    }
}

fn scan_directory(store: &Inner, path: &str, directories: &mut Vec<String>) -> Result<()> {
    let at = if path.is_empty() { "." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(&store.root, at, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." || (path.is_empty() && owner::is_private(name.as_bytes())) {
            continue;
        }
        let key = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        if is_directory(&store.root, &entry, &key)? {
            directories.push(key);
        } else if let Some(key) = ObjectKey::parse(&key)
            && !key.is_beside()
            && !store.presence.add(&key)
        {
            directories.clear();
            return Ok(());
        }
    }
    Ok(())
}

struct Page<'a> {
    root: &'a OwnedFd,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    found: Vec<Listed>,
}

impl Page<'_> {
    fn directory(&mut self, path: &str) -> Result<()> {
        let at = if path.is_empty() { "." } else { path };
        let fd = match rustix::fs::openat(
            self.root,
            at,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            opened => opened?,
        };
        // A directory may hold more names than are wanted in memory: the next ones in order are taken, as many as may
        // be needed, and the directory is read once more should they have been empty directories.
        let mut passed = String::new();
        loop {
            let most = self.limit - self.found.len();
            let names = self.names(path, Dir::read_from(&fd)?, &passed, most)?;
            for name in &names {
                if self.found.len() >= self.limit {
                    return Ok(());
                }
                match name.strip_suffix('/') {
                    Some(directory) => self.directory(directory)?,
                    None => self.file(name)?,
                }
            }
            match names.last() {
                Some(last) if names.len() >= most && self.found.len() < self.limit => passed.clone_from(last),
                _ => return Ok(()),
            }
        }
    }

    /// The first keys in a directory after `passed`, in order; a directory's ends with a slash, which also puts it in
    /// its place among keys (`a.b` lies before `a/c`).
    fn names(&self, path: &str, entries: Dir, passed: &str, most: usize) -> Result<Vec<String>> {
        let mut names = BinaryHeap::new();
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." || (path.is_empty() && owner::is_private(name.as_bytes())) {
                continue;
            }
            let mut key = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if is_directory(self.root, &entry, &key)? {
                key.push('/');
            }
            if key.as_str() > passed && self.may_hold(&key) {
                names.push(key);
                if names.len() > most {
                    names.pop();
                }
            }
        }
        Ok(names.into_sorted_vec())
    }

    /// Whether a file is wanted, or something in a directory may be.
    fn may_hold(&self, key: &str) -> bool {
        let is_directory = key.ends_with('/');
        let in_prefix = key.starts_with(self.prefix) || (is_directory && self.prefix.starts_with(key));
        in_prefix && (key > self.after || (is_directory && self.after.starts_with(key)))
    }

    fn file(&mut self, name: &str) -> Result<()> {
        let stat = match rustix::fs::statat(self.root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()), // removed meanwhile
            stat => stat?,
        };
        if let Some(key) = ObjectKey::parse(name) {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            self.found.push(Listed { key, size, modified: files::modified_ms(&stat) });
        }
        Ok(())
    }
}
