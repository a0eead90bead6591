//! Files by descriptor and relative path: open, read, write, with and without waiting for a disk.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::{Errno, ReadWriteFlags, Result};

use crate::store::Durability;

/// Files hold other people's build outputs: readable to the owner and its group.
const MODE: Mode = Mode::from_bits_truncate(0o640);
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o750);
/// Linux takes at most 1024 buffers in one call.
const MAX_SLICES: usize = 1024;

/// Opens for reading, perhaps waiting for a disk.
pub fn open(root: &OwnedFd, path: &str) -> Result<OwnedFd> {
    rustix::fs::openat(root, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME, Mode::empty()).or_else(|e| {
        match e {
            // NOATIME is only for the file's owner.
            Errno::PERM => rustix::fs::openat(root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()),
            e => Err(e),
        }
    })
}

/// Opens for reading if the kernel can do it from memory alone (openat2 with RESOLVE_CACHED, Linux 5.12): `None` when
/// it cannot say without a disk. That nothing is there is told the same way.
pub fn open_cached(root: &OwnedFd, path: &str) -> Result<Option<OwnedFd>> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if MISSING.load(Ordering::Relaxed) {
        return Ok(None);
    }
    match rustix::fs::openat2(root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Err(Errno::NOENT),
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
            MISSING.store(true, Ordering::Relaxed);
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}

/// The first `limit` bytes of a file.
pub fn read_head(fd: &OwnedFd, stat: &Stat, limit: usize) -> Result<Bytes> {
    let mut buffer = vec![0; head_len(stat, limit)];
    let got = read_at_most(fd, &mut buffer, 0)?;
    buffer.truncate(got);
    Ok(buffer.into())
}

/// The first `limit` bytes, if the page cache has them all.
pub fn read_head_cached(fd: &OwnedFd, stat: &Stat, limit: usize) -> Result<Option<Bytes>> {
    let mut buffer = vec![0; head_len(stat, limit)];
    Ok(fill_cached(fd, &mut buffer, 0)?.then(|| buffer.into()))
}

fn head_len(stat: &Stat, limit: usize) -> usize {
    usize::try_from(stat.st_size).unwrap_or(0).min(limit)
}

/// Fills the whole buffer from `offset` on if the page cache has it (preadv2 with RWF_NOWAIT); false if not.
pub fn fill_cached(fd: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<bool> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        match rustix::io::preadv2(fd, &mut [IoSliceMut::new(&mut buffer[done..])], at, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => return Ok(false),
            Ok(n) => done += n,
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Reads until the buffer is full or the file ends; gives how much.
pub fn read_at_most(fd: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(fd, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes a new file whole; one that exists is an error ([`Errno::EXIST`]), and after any other error nothing is left.
pub fn write_new(root: &OwnedFd, path: &str, parts: &[Bytes]) -> Result<()> {
    let fd = create(root, path)?;
    let mut at = 0;
    write_all(&fd, parts, &mut at).inspect_err(|_| unlink(root, path))
}

/// Creates a new file for writing, and the directories on the way to it where they are missing.
pub fn create(root: &OwnedFd, path: &str) -> Result<OwnedFd> {
    let create = || {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(root, path, flags, MODE)
    };
    match create() {
        Err(Errno::NOENT) => {
            make_parents(root, path)?;
            create()
        }
        outcome => outcome,
    }
}

/// Appends all parts at `at`, which moves on as bytes are written.
pub fn write_all(fd: &OwnedFd, parts: &[Bytes], at: &mut u64) -> Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let batch = rest.len().min(MAX_SLICES);
        match rustix::io::pwritev(fd, &rest[..batch], *at) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => {
                *at += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Puts one file in another's place, and removes the other.
///
/// What has to survive a power cut is renamed over the other: ext4 then writes its bytes before the name moves
/// (`auto_da_alloc`), so that there is always one of the two. What has not is spared that: the two are exchanged, where
/// the file system can.
pub fn replace(root: &OwnedFd, new: &str, old: &str, durability: Durability) -> Result<()> {
    if durability == Durability::Synced {
        return rustix::fs::renameat(root, new, root, old);
    }
    match rustix::fs::renameat_with(root, new, root, old, RenameFlags::EXCHANGE) {
        Ok(()) => {
            unlink(root, new);
            Ok(())
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOENT | Errno::OPNOTSUPP | Errno::PERM) => {
            rustix::fs::renameat(root, new, root, old)
        }
        Err(e) => Err(e),
    }
}

/// Makes the directories on the way to `path`.
pub fn make_parents(root: &OwnedFd, path: &str) -> Result<()> {
    for (at, _) in path.match_indices('/') {
        match rustix::fs::mkdirat(root, &path[..at], DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Removes a file that nobody needs; that it is gone already is fine.
pub fn unlink(root: &OwnedFd, path: &str) {
    if let Err(e) = rustix::fs::unlinkat(root, path, AtFlags::empty())
        && e != Errno::NOENT
    {
        tracing::warn!(error = %e, "could not remove a temporary file; the next start removes it");
    }
}

/// What the file system knows of a file.
pub fn stat(root: &OwnedFd, path: &str) -> Result<Stat> {
    rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets a file's time to now.
pub fn touch(root: &OwnedFd, path: &str) -> Result<()> {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    rustix::fs::utimensat(root, path, &Timestamps { last_access: omit, last_modification: now }, AtFlags::empty())
}

/// A file's time in milliseconds since 1970.
pub fn modified_ms(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    seconds.saturating_mul(1000) + stat.st_mtime_nsec / 1_000_000
}
