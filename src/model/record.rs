//! The header of a record: one line of JSON before the bytes, which says what they are and how to check them.
//!
//! The line begins with `{"check":"<16 hex>",`: xxh3-64 of everything on the line after it. A flipped bit in the
//! header is noticed like one in the body, and the line is still plain JSON.

use serde::{Deserialize, Serialize};
use ulid::Ulid;
use xxhash_rust::xxh3::xxh3_64;

use super::INLINE;
use super::facts::Facts;
use super::metadata::Task;
use super::object::ObjectKey;
use super::sums::Sums;

/// The version of the header that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// No header is longer; more is not a record.
pub const MAX_HEADER: usize = 4 << 20;
/// How many bytes [`Header::peek_nonce`] looks at.
pub const PEEK: usize = 128;
const PREFIX: &str = "{\"check\":\"";
const CHECKED_FROM: usize = PREFIX.len() + 16 + 2;

/// What a record says of itself before its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Format version, [`VERSION`].
    pub v: u32,
    /// Fresh at every write, so that two writes of the same bytes differ.
    pub nonce: Nonce,
    /// Live, bad or dead.
    pub state: State,
    /// Length of the body in bytes, inline or in payloads.
    pub size: u64,
    /// When it was first written, in milliseconds since 1970.
    pub created: u64,
    /// Checksums of the body; they restart at each payload.
    pub sums: Sums,
    /// The payloads that hold the body, in order; none when it is inline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payloads: Vec<Payload>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Writer::is_empty")]
    pub writer: Writer,
    /// The Gradle task whose outputs these are, where METADATA told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// What a record of the registry says beside its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Box<Facts>>,
    /// When it appeared in the store, by the store's clock; set by the first renewal that writes it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
}

/// One payload of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Its key; the id at the end is never used twice.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
}

/// The state of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Good to serve.
    Live,
    /// Its bytes failed their check: reads miss, the next store replaces it.
    Bad,
    /// Removed; its payloads follow.
    Dead,
}

/// A number used once, as a ULID in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(pub Ulid);

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        let mut text = [0; ulid::ULID_LEN];
        nonce.0.array_to_str(&mut text).to_owned()
    }
}

impl TryFrom<String> for Nonce {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ulid::from_string(&text).map(Nonce).map_err(|_| "not a ULID")
    }
}

/// Who wrote a record, for people who look for the source of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Writer {
    /// The user's name; empty for an anonymous one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The address the request came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The client program, as it names itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent: String,
}

impl Writer {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The line does not end within the bytes at hand; more may help.
    #[error("the header does not end")]
    Incomplete,
    /// The line's check does not hold, or it is no header at all.
    #[error("the header does not hold its check")]
    Corrupt,
    /// Written by a newer larder: left alone.
    #[error("the record has format version {0}, newer than this program's")]
    Newer(u32),
}

impl Header {
    /// A fresh live header for a body with these sums.
    pub fn new(size: u64, sums: Sums) -> Self {
        Self {
            v: VERSION,
            size,
            sums,
            payloads: Vec::new(),
            nonce: Nonce(crate::clock::new_ulid()),
            state: State::Live,
            created: crate::clock::unix_ms(),
            writer: Writer::default(),
            task: None,
            facts: None,
            born: None,
        }
    }

    /// A fresh header for the registry's records.
    pub fn with_facts(size: u64, sums: Sums, facts: Facts) -> Self {
        Self { facts: Some(Box::new(facts)), ..Self::new(size, sums) }
    }

    /// The same record, to be written once more: only the nonce is another.
    pub fn again(&self) -> Self {
        Self { nonce: Nonce(crate::clock::new_ulid()), ..self.clone() }
    }

    /// The header as it is stored, its newline included.
    pub fn encode(&self) -> Vec<u8> {
        // Serialising plain strings and numbers cannot fail; an empty header would be noticed as corrupt.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let rest = json.get(1..).unwrap_or_default();
        let mut line = Vec::with_capacity(CHECKED_FROM + rest.len() + 1);
        line.extend_from_slice(PREFIX.as_bytes());
        line.extend_from_slice(hex16(xxh3_64(rest)).as_slice());
        line.extend_from_slice(b"\",");
        line.extend_from_slice(rest);
        line.push(b'\n');
        line
    }

    /// Reads a header from the beginning of a record. Gives it and its length with the newline.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), HeaderError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let prefix = bytes.len().min(PREFIX.len());
        if bytes[..prefix] != PREFIX.as_bytes()[..prefix] {
            return Err(HeaderError::Corrupt);
        }
        let Some(end) = bytes.iter().position(|&b| b == b'\n') else {
            return Err(if bytes.len() > MAX_HEADER { HeaderError::Corrupt } else { HeaderError::Incomplete });
        };
        let (Some(check), Some(rest)) = (bytes.get(PREFIX.len()..PREFIX.len() + 16), bytes.get(CHECKED_FROM..end))
        else {
            return Err(HeaderError::Corrupt);
        };
        if check != hex16(xxh3_64(rest)) || &bytes[CHECKED_FROM - 2..CHECKED_FROM] != b"\"," {
            return Err(HeaderError::Corrupt);
        }
        let line = &bytes[..end];
        let version: Version = serde_json::from_slice(line).map_err(|_| HeaderError::Corrupt)?;
        if version.v > VERSION {
            return Err(HeaderError::Newer(version.v));
        }
        let header: Self = serde_json::from_slice(line).map_err(|_| HeaderError::Corrupt)?;
        if header.is_sound() { Ok((header, end + 1)) } else { Err(HeaderError::Corrupt) }
    }

    /// The nonce of the header that begins these bytes, found without parsing: a store compares writes by it. The
    /// first 128 bytes of a record are enough.
    pub fn peek_nonce(bytes: &[u8]) -> Option<&str> {
        const FIELD: &[u8] = b"\"nonce\":\"";
        let line = &bytes[..bytes.len().min(PEEK)];
        let at = line.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
        std::str::from_utf8(line.get(at..at + ulid::ULID_LEN)?).ok()
    }

    /// Whether sizes, payloads and sums fit together.
    fn is_sound(&self) -> bool {
        let chunks = |size: u64| size.div_ceil(INLINE);
        let (size, sums) = match self.payloads.as_slice() {
            [] => (self.size, chunks(self.size)),
            payloads => (
                payloads.iter().fold(0u64, |all, p| all.saturating_add(p.size)),
                payloads.iter().fold(0u64, |all, p| all.saturating_add(chunks(p.size))),
            ),
        };
        size == self.size && sums == self.sums.len() as u64
    }
}

fn hex16(value: u64) -> [u8; 16] {
    std::array::from_fn(|i| {
        let digit = (value >> (60 - 4 * i)) & 0xf;
        b"0123456789abcdef"[digit as usize]
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Header {
        let mut header = Header::new(5, Sums::of(b"hello"));
        header.writer.user = "ci".into();
        header.task = Some(Task { path: ":app:compileJava".into(), ..Task::default() });
        header
    }

    #[test]
    fn a_header_round_trips_and_is_plain_json() {
        let header = sample();
        let mut bytes = header.encode();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["task"]["path"], ":app:compileJava");
        let len = bytes.len();
        bytes.extend_from_slice(b"hello");
        let nonce = String::from(header.nonce);
        assert_eq!(Header::peek_nonce(&bytes), Some(nonce.as_str()));
        assert_eq!(Header::decode(&bytes), Ok((header, len)));
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut header = sample();
        header.v = VERSION + 1;
        assert_eq!(Header::decode(&header.encode()), Err(HeaderError::Newer(VERSION + 1)));
    }

    #[test]
    fn sizes_that_do_not_fit_are_damage() {
        let mut header = sample();
        header.size = INLINE + 1;
        assert_eq!(Header::decode(&header.encode()), Err(HeaderError::Corrupt));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in 0usize..200, bit in 0u8..8) {
            let mut bytes = sample().encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(Header::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Header::decode(&bytes);
        }

        #[test]
        fn a_cut_header_is_incomplete(cut in 0usize..1000) {
            let bytes = sample().encode();
            let cut = cut % bytes.len();
            prop_assert_eq!(Header::decode(&bytes[..cut]), Err(HeaderError::Incomplete));
        }
    }
}
