//! One process owns a directory: the lock, the first layout, and what an earlier owner left in `tmp/`.

use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::clock;

const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp";
const SET_ASIDE: &str = "tmp.old.";

/// Names at the top of a store that are no objects.
pub(super) fn is_private(name: &[u8]) -> bool {
    name == LOCK.as_bytes() || name == TEMPORARY.as_bytes() || name.starts_with(SET_ASIDE.as_bytes())
}

/// The lock of a directory, given up when the process ends, however it ends.
pub struct Owner {
    _lock: fs::File,
}

/// Why a directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns it.
    #[error(
        "{path} is in use by another larder{holder}: stop that one, or give this one a directory of its own with --data"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` (process N)` where the lock file tells.
        holder: String,
    },
    /// What lies there is not larder's, and would be tidied away.
    #[error("{path} holds files that are not larder's: choose an empty directory with --data")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be made or written to.
    #[error("cannot use {path} for data: {source}; choose a directory that this user may write to with --data")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn new(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Unusable { path: path.to_owned(), source: source.into() }
    }
}

/// Makes the directory where it is missing and takes its lock.
pub fn take(path: &Path) -> Result<(OwnedFd, Owner), OpenError> {
    let unusable = |source: io::Error| OpenError::new(path, source);
    fs::create_dir_all(path).map_err(unusable)?;
    if !is_ours(path).map_err(unusable)? {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let mut lock = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(unusable)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = io::Read::take(&lock, 20).read_to_string(&mut pid);
            let pid = pid.trim();
            let known = !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
            let holder = if known { format!(" (process {pid})") } else { String::new() };
            return Err(OpenError::InUse { path: path.to_owned(), holder });
        }
        Err(e) => return Err(unusable(e.into())),
    }
    // The process id is a courtesy to people; the lock holds without it (on a full disk, say).
    let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    set_temporary_aside(path).map_err(unusable)?;
    let root = fs::File::open(path).map_err(unusable)?;
    Ok((root.into(), Owner { _lock: lock }))
}

/// Empty, or begun by larder before: what lies in somebody else's `tmp/` must not be tidied away.
fn is_ours(path: &Path) -> io::Result<bool> {
    if path.join("system/format").is_file() {
        return Ok(true);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let ours = match entry.file_name().to_str() {
            Some(LOCK) => entry.file_type()?.is_file(),
            // Killed, or out of space, before it wrote its format.
            Some(TEMPORARY | "system") => fs::read_dir(entry.path())?.next().is_none(),
            // A fresh volume.
            Some("lost+found") => true,
            _ => false,
        };
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A fresh name below `tmp/`.
pub fn temporary_name() -> String {
    format!("{TEMPORARY}/{}", String::from(crate::model::record::Nonce(clock::new_ulid())))
}

/// Leftovers of an earlier process are renamed away at once and removed beside the traffic.
fn set_temporary_aside(root: &Path) -> io::Result<()> {
    let temporary = root.join(TEMPORARY);
    let is_empty = match fs::read_dir(&temporary) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return fs::create_dir(&temporary),
        Err(e) => return Err(e),
    };
    if !is_empty {
        let aside = format!("{SET_ASIDE}{}", clock::unix_ms());
        fs::rename(&temporary, root.join(aside))?;
        fs::create_dir(&temporary)?;
    }
    let root = root.to_owned();
    std::thread::Builder::new().name("larder-tidy".into()).spawn(move || remove_set_aside(&root)).map(drop)
}

fn remove_set_aside(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(SET_ASIDE.as_bytes())
            && let Err(e) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(error = %e, "could not remove what an earlier run left in tmp/; the next start tries again");
        }
    }
}
