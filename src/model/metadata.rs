//! What a Gradle cache entry says of itself: a gzipped tar whose first member is a properties file `METADATA`.
//!
//! Layout as Gradle's `TarBuildCacheEntryPacker` writes it. Newer versions use fewer keys, so every key is optional.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use serde::{Deserialize, Serialize};

use super::properties;

/// How many bytes of an entry's beginning are enough to find its METADATA.
pub const HEAD: usize = 8 << 10;
const TAR_BLOCK: usize = 512;
/// METADATA holds a dozen short properties; of a longer one only the beginning is read.
const MAX_INFLATED: usize = 4 << 10;

/// The Gradle task whose outputs an entry holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// The task's path, `:app:compileJava`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The task's class.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// How long it ran when it ran, in milliseconds: what a hit saves.
    pub execution_ms: u64,
    /// The Gradle that ran it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gradle: String,
}

/// Reads the task from the first bytes of an entry ([`HEAD`] are enough). `None` when they do not begin a gzip whose
/// first tar member is METADATA.
pub fn read_task(head: &[u8]) -> Option<Task> {
    thread_local! {
        // Inflating needs 40 KiB of state; a thread keeps it from one entry to the next.
        static STATE: RefCell<(Decompress, Vec<u8>)> =
            RefCell::new((Decompress::new(false), Vec::with_capacity(MAX_INFLATED)));
    }
    let deflated = after_gzip_header(head)?;
    STATE.with_borrow_mut(|(inflate, out)| {
        inflate.reset(false);
        out.clear();
        match inflate.decompress_vec(deflated, out, FlushDecompress::None) {
            Ok(Status::Ok | Status::StreamEnd | Status::BufError) => parse_tar(out),
            Err(_) => None,
        }
    })
}

/// Skips a gzip member's header (RFC 1952, section 2.3).
pub fn after_gzip_header(bytes: &[u8]) -> Option<&[u8]> {
    const FHCRC: u8 = 2;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    let (&[0x1f, 0x8b, 8, flags, ..], mut rest) = bytes.split_at_checked(10)? else { return None };
    if flags & FEXTRA != 0 {
        let len = rest.get(..2).map(|b| usize::from(b[0]) | usize::from(b[1]) << 8)?;
        rest = rest.get(2 + len..)?;
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&b| b == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & FHCRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// Members that only describe the next one (POSIX pax, section "pax Header Block"): Gradle 4.4.1 already writes one
/// with the modification time before METADATA.
const DESCRIBING: [u8; 3] = [b'x', b'g', b'L'];
const MAX_DESCRIBING: usize = 4;

fn parse_tar(mut tar: &[u8]) -> Option<Task> {
    for _ in 0..=MAX_DESCRIBING {
        let (header, content) = tar.split_at_checked(TAR_BLOCK)?;
        let size = std::str::from_utf8(&header[124..136]).ok()?;
        let size = usize::from_str_radix(size.trim_matches([' ', '\0']), 8).ok()?;
        if header.starts_with(b"METADATA\0") {
            return Some(parse_metadata(&content[..content.len().min(size)]));
        }
        if !DESCRIBING.contains(&header[156]) {
            return None;
        }
        tar = content.get(size.checked_next_multiple_of(TAR_BLOCK)?..)?;
    }
    None
}

fn parse_metadata(content: &[u8]) -> Task {
    // Properties.store writes Latin-1 with escapes; what is not UTF-8 cannot be one of the keys that are read.
    let text = String::from_utf8_lossy(content);
    let mut task = Task::default();
    for (key, value) in properties::pairs(&text) {
        match key.as_str() {
            "path" | "identity" => task.path = clip(value),
            "type" | "implementationClass" => task.kind = clip(value),
            "executionTime" => task.execution_ms = value.trim().parse().unwrap_or(0),
            "gradleVersion" => task.gradle = clip(value),
            _ => {}
        }
    }
    task
}

/// A client chooses these texts; a record keeps at most 256 bytes of each, without control characters.
fn clip(mut text: String) -> String {
    text.retain(|c| !c.is_control());
    let end = (0..=256.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    /// An entry as Gradle packs it, with `extra` bytes of outputs behind the METADATA.
    pub(crate) fn entry(properties: &str, extra: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&member("./PaxHeaders.X/METADATA", b'x', b"28 mtime=1795339739.4439040\n")).unwrap();
        gzip.write_all(&tar("METADATA", properties.as_bytes())).unwrap();
        gzip.write_all(&tar("tree-outputFile", extra)).unwrap();
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap()
    }

    fn tar(name: &str, content: &[u8]) -> Vec<u8> {
        member(name, b'0', content)
    }

    fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut block = vec![0u8; TAR_BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        let size = format!("{:011o}\0", content.len());
        block[124..136].copy_from_slice(size.as_bytes());
        block[156] = kind;
        block.extend_from_slice(content);
        block.resize(block.len().next_multiple_of(TAR_BLOCK), 0);
        block
    }

    #[test]
    fn an_entry_of_gradle_is_read() {
        let bytes = entry("path=\\:app\\:test\ntype=org.gradle.Test\nexecutionTime=3200\ngradleVersion=8.10\n", b"x");
        let task = read_task(&bytes[..bytes.len().min(HEAD)]).unwrap();
        assert_eq!((task.path.as_str(), task.execution_ms, task.gradle.as_str()), (":app:test", 3200, "8.10"));
    }

    #[test]
    fn other_bytes_are_not_an_entry() {
        let mut named = GzBuilder::new().filename("x").comment("y").write(Vec::new(), Compression::fast());
        named.write_all(&tar("METADATA", b"path=a\n")).unwrap();
        assert_eq!(read_task(&named.finish().unwrap()).unwrap().path, "a");

        let mut other = GzEncoder::new(Vec::new(), Compression::fast());
        other.write_all(&tar("README", b"path=a\n")).unwrap();
        assert_eq!(read_task(&other.finish().unwrap()), None);
        assert_eq!(read_task(b""), None);
        assert_eq!(read_task(b"PK\x03\x04"), None);
        assert_eq!(read_task(&[0x1f, 0x8b, 8]), None);
    }

    #[test]
    fn long_texts_are_clipped_at_a_character() {
        let long = format!("path={}\n", "é".repeat(300));
        let task = read_task(&entry(&long, b"")).unwrap();
        assert_eq!(task.path.len(), 256);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_task(&bytes);
            let mut gzip = vec![0x1f, 0x8b, 8];
            gzip.extend_from_slice(&bytes);
            let _ = read_task(&gzip);
        }

        #[test]
        fn any_cut_of_an_entry_is_harmless(cut in 0usize..400) {
            let bytes = entry("path=a\n", &[1; 100]);
            let _ = read_task(&bytes[..cut.min(bytes.len())]);
        }
    }
}
