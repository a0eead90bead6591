//! Entries as Gradle packs them: a gzipped tar whose first member is METADATA.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

const TAR_BLOCK: usize = 512;

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// An entry of the task `path`, which ran for `execution_ms`, with `outputs` behind the METADATA. With noise as
/// outputs it has about their length and 300 bytes.
pub fn entry(path: &str, execution_ms: u64, outputs: &[u8]) -> Vec<u8> {
    let metadata = format!(
        "#Generated origin information\nbuildInvocationId=abcdefgh\ncreationTime=1700000000000\n\
         executionTime={execution_ms}\npath={}\ntype=org.gradle.api.tasks.compile.JavaCompile_Decorated\n\
         gradleVersion=8.10\n",
        path.replace(':', "\\:")
    );
    // Noise does not compress; not to try is faster.
    let level = if outputs.len() < 4096 { Compression::fast() } else { Compression::none() };
    let mut gzip = GzEncoder::new(Vec::new(), level);
    gzip.write_all(&member("METADATA", metadata.as_bytes())).unwrap();
    gzip.write_all(&member("tree-destinationDirectory", outputs)).unwrap();
    gzip.write_all(&[0; 2 * TAR_BLOCK]).unwrap();
    gzip.finish().unwrap()
}

/// Whether an entry unpacks to its end.
pub fn unpacks(bytes: &[u8]) -> bool {
    let mut tar = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut tar).is_ok() && tar.starts_with(b"METADATA\0")
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; TAR_BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[156] = b'0';
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(TAR_BLOCK), 0);
    block
}
