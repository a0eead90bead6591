//! What lies in a node's directory.

use std::fs;
use std::path::{Path, PathBuf};

/// The file of an entry's record; a key without a namespace is in `default`.
pub fn record(data: &Path, entry: &str) -> PathBuf {
    let (namespace, key) = entry.split_once('/').unwrap_or(("default", entry));
    data.join("gradle").join(namespace).join(&key[..2]).join(key)
}

/// The files of an entry's payloads.
pub fn payloads(data: &Path, entry: &str) -> Vec<PathBuf> {
    let record = record(data, entry);
    let prefix = format!("{}.", record.file_name().unwrap().to_str().unwrap());
    files(record.parent().unwrap())
        .into_iter()
        .filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with(&prefix))
        .collect()
}

/// All files below a directory, in order; none where there is no directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all.sort();
    all
}

/// Turns one bit of a byte; `at` counts from the end when it is negative.
pub fn flip(file: &Path, at: i64) {
    let mut bytes = fs::read(file).unwrap();
    let at = if at < 0 { bytes.len() - usize::try_from(-at).unwrap() } else { usize::try_from(at).unwrap() };
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

/// Cuts a file to a length.
pub fn truncate(file: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(len).unwrap();
}
