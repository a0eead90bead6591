//! Digests of content (OCI image-spec, descriptor.md, "Digests") and the hashers that make them.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::digest::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Sha256, Sha512};

use super::object::ObjectKey;

/// The algorithms that the image-spec registers and a registry has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, of everything that today's clients push.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// As it stands before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A digest: `sha256:` and 64 lower-case hex digits, or `sha512:` and 128. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    text: Arc<str>,
}

impl Digest {
    /// Parses a digest; anything else than the two registered algorithms is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.split_once(':')?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return None,
        };
        let holds = hex.len() == algorithm.hex_len() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        holds.then(|| Self { algorithm, text: text.into() })
    }

    /// The digest of these bytes.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What follows the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// The whole digest.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the blob's record lies: `blobs/<algorithm>/<h0h1>/<hex>`.
    pub fn blob(&self) -> ObjectKey {
        let hex = self.hex();
        ObjectKey::from_parts(&["blobs", self.algorithm.as_str(), &hex[..2], hex])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

/// A digest in the making.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

/// The form of a saved state: this program's first, and sha2's own bytes behind it.
const SAVED: &str = "1:";

impl Hasher {
    /// Of nothing so far.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => digest(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => digest(Algorithm::Sha512, &hash.finalize()),
        }
    }

    /// The state of a SHA-256 as text, to go on from elsewhere; of other algorithms there is none.
    pub fn save(&self) -> Option<String> {
        match self {
            Self::Sha256(hash) => Some(format!("{SAVED}{}", STANDARD_NO_PAD.encode(hash.serialize()))),
            Self::Sha512(_) => None,
        }
    }

    /// Goes on from a saved state; `None` when it is not one of this program's.
    pub fn restore(saved: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(saved.strip_prefix(SAVED)?).ok()?;
        let state: &SerializedState<Sha256> = bytes.as_slice().try_into().ok()?;
        Sha256::deserialize(state).ok().map(Self::Sha256)
    }
}

fn digest(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(algorithm.as_str().len() + 1 + bytes.len() * 2);
    text.push_str(algorithm.as_str());
    text.push(':');
    for byte in bytes {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 0xf)]));
    }
    Digest { algorithm, text: text.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_digests_are_made_and_read() {
        let empty = Digest::of(Algorithm::Sha256, b"");
        assert_eq!(empty.as_str(), EMPTY);
        assert_eq!(Digest::parse(EMPTY), Some(empty.clone()));
        assert_eq!(empty.blob().as_str(), format!("blobs/sha256/e3/{}", &EMPTY[7..]));
        let long = Digest::of(Algorithm::Sha512, b"abc");
        assert!(long.hex().starts_with("ddaf35a193617aba") && Digest::parse(long.as_str()) == Some(long.clone()));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let upper = EMPTY.to_uppercase();
        let dirty = format!("{EMPTY}0");
        for bad in ["", ":", "sha256", "sha256:", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", &upper, &dirty]
        {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
        assert_eq!(Digest::parse(&EMPTY.replace("sha256", "sha512")), None);
        assert_eq!(Digest::parse(&EMPTY.replace('e', "/")), None);
    }

    proptest! {
        #[test]
        fn a_saved_hasher_goes_on_where_it_was(bytes in prop::collection::vec(any::<u8>(), 0..500), at in 0..500usize) {
            let at = at.min(bytes.len());
            let mut first = Hasher::new(Algorithm::Sha256);
            first.update(&bytes[..at]);
            let mut second = Hasher::restore(&first.save().unwrap()).unwrap();
            second.update(&bytes[at..]);
            prop_assert_eq!(second.finish(), Digest::of(Algorithm::Sha256, &bytes));
        }

        #[test]
        fn nothing_that_is_restored_panics(text in ".{0,200}") {
            let _ = Hasher::restore(&text);
            let _ = Hasher::restore(&format!("1:{text}"));
            let _ = Digest::parse(&text);
        }
    }
}
