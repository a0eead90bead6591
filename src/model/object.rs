//! The key of an object in the store: a record, or a payload that a record names.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::repository::REPOSITORIES;

/// A slash-separated key whose parts are neither empty nor `.` nor `..`, so that it is a safe relative path too.
/// Made from names that were parsed before; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// The first part of the keys of everything that larder keeps for itself.
    pub const SYSTEM: &'static str = "system";

    /// Joins parts that are valid already.
    pub fn from_parts(parts: &[&str]) -> Self {
        // Names are short: they are put together on the stack, and allocated once.
        let mut buffer = [0u8; 256];
        let mut len = 0;
        for (i, part) in parts.iter().enumerate() {
            let needed = part.len() + usize::from(i > 0);
            if len + needed > buffer.len() {
                return Self(parts.join("/").into());
            }
            if i > 0 {
                buffer[len] = b'/';
                len += 1;
            }
            buffer[len..len + part.len()].copy_from_slice(part.as_bytes());
            len += part.len();
        }
        match std::str::from_utf8(&buffer[..len]) {
            Ok(text) => Self(text.into()),
            Err(_) => Self(parts.join("/").into()),
        }
    }

    /// A record of larder's own, `system/<name>`.
    pub fn system(name: &str) -> Self {
        Self::from_parts(&[Self::SYSTEM, name])
    }

    /// Reads a key back, from a listing or a record.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = !text.is_empty()
            && text.len() <= 1024
            && !text.contains('\0')
            && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        valid.then(|| Self(text.into()))
    }

    /// The key of a payload that lies beside this record: `<record>.<ulid>`.
    pub fn beside(&self, id: Ulid) -> Self {
        let mut text = [0; ulid::ULID_LEN];
        Self(format!("{}.{}", self.0, id.array_to_str(&mut text)).into())
    }

    /// The id at the end of a payload's key, after the last `.` or `/`. Payloads are written once under a name that
    /// is never used again, so this id stands for their bytes.
    pub fn payload_id(&self) -> Option<Ulid> {
        let tail = self.0.rsplit(['.', '/']).next()?;
        Ulid::from_string(tail).ok()
    }

    /// Whether this is the key of a payload that lies beside its record. Tags may look like one.
    pub fn is_beside(&self) -> bool {
        if self.0.starts_with(REPOSITORIES) {
            return false;
        }
        let name = self.0.rsplit('/').next().unwrap_or(&self.0);
        name.rsplit_once('.').is_some_and(|(_, id)| Ulid::from_string(id).is_ok())
    }

    /// The key as it is given to a store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a valid object key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_beside_its_record_is_told_by_its_id() {
        let id = crate::clock::new_ulid();
        let payload = ObjectKey::from_parts(&["gradle", "default", "ab", "abcd"]).beside(id);
        assert_eq!(payload.payload_id(), Some(id));
        assert!(payload.is_beside());
        assert_eq!(ObjectKey::parse(payload.as_str()), Some(payload));
        // A key that happens to be a ULID is a key.
        assert!(!ObjectKey::from_parts(&["gradle", "a.b", "01", "01arz3ndektsv4rrffq69g5fav"]).is_beside());
    }

    #[test]
    fn keys_that_would_leave_the_store_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a\0b"] {
            assert_eq!(ObjectKey::parse(bad), None, "{bad:?}");
        }
        let long = "x".repeat(300);
        assert_eq!(ObjectKey::from_parts(&["a", &long]).as_str(), format!("a/{long}"));
    }
}
