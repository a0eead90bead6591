//! Names in a registry (distribution-spec, "Pulling manifests"): repositories, tags, references, and where the records
//! of a repository lie.

use std::fmt;
use std::sync::Arc;

use super::digest::Digest;
use super::object::ObjectKey;

/// The first part of the keys of everything that belongs to a repository.
pub const REPOSITORIES: &str = "repos";
const MANIFESTS: &str = "_manifests";
const TAGS: &str = "_tags";
const LINKS: &str = "_blobs";
const REFERRERS: &str = "_referrers";

/// Clients limit host, port and name together to 255; so is the name here.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A repository's name: components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, separated by slashes. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

impl Repository {
    /// Parses a name.
    pub fn parse(text: &str) -> Option<Self> {
        ((1..=MAX_NAME).contains(&text.len()) && text.split('/').all(is_component)).then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The record of a manifest.
    pub fn manifest(&self, digest: &Digest) -> ObjectKey {
        self.by_digest(MANIFESTS, digest)
    }

    /// The record that lets a blob be read through this repository.
    pub fn link(&self, digest: &Digest) -> ObjectKey {
        self.by_digest(LINKS, digest)
    }

    fn by_digest(&self, kind: &str, digest: &Digest) -> ObjectKey {
        ObjectKey::from_parts(&[REPOSITORIES, &self.0, kind, digest.algorithm().as_str(), digest.hex()])
    }

    /// The record of a tag.
    pub fn tag(&self, tag: &TagName) -> ObjectKey {
        ObjectKey::from_parts(&[REPOSITORIES, &self.0, TAGS, &tag.0])
    }

    /// What the keys of all tags begin with.
    pub fn tags(&self) -> String {
        format!("{REPOSITORIES}/{}/{TAGS}/", self.0)
    }

    /// The record of a referrer of `subject`.
    pub fn referrer(&self, subject: &Digest, manifest: &Digest) -> ObjectKey {
        ObjectKey::from_parts(&[
            REPOSITORIES,
            &self.0,
            REFERRERS,
            subject.algorithm().as_str(),
            subject.hex(),
            manifest.algorithm().as_str(),
            manifest.hex(),
        ])
    }

    /// What the keys of all referrers of `subject` begin with.
    pub fn referrers(&self, subject: &Digest) -> String {
        format!("{REPOSITORIES}/{}/{REFERRERS}/{}/{}/", self.0, subject.algorithm().as_str(), subject.hex())
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Repository {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Repository {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a repository's name"))
    }
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    // What lies between two runs of letters and digits is one dot, one or two underscores, or dashes.
    bytes
        .split(alphanumeric)
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-'))
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagName(Arc<str>);

impl TagName {
    /// Parses a tag.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let (&first, rest) = text.as_bytes().split_first()?;
        let holds = text.len() <= MAX_TAG && word(first) && rest.iter().all(|&b| word(b) || b == b'.' || b == b'-');
        holds.then(|| Self(text.into()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a manifest in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By its content.
    Digest(Digest),
    /// By a name that may move.
    Tag(TagName),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::digest::Algorithm;

    #[test]
    fn names_of_the_specification_are_taken() {
        for good in ["a", "team/cache", "a.b/c_d/e__f/g-h/i---j", "0/1", &"a".repeat(255)] {
            assert_eq!(Repository::parse(good).as_ref().map(Repository::as_str), Some(good));
        }
        for bad in ["", "/", "a/", "/a", "A", "a//b", "a..b", "a___b", "a._b", ".a", "-a", "a-", "a/_b", "ä", "a b"] {
            assert_eq!(Repository::parse(bad), None, "{bad}");
        }
        assert_eq!(Repository::parse(&"a".repeat(256)), None);
    }

    #[test]
    fn tags_of_the_specification_are_taken() {
        for good in ["latest", "V1.2-3_4", "_", "0", &"a".repeat(128)] {
            assert_eq!(TagName::parse(good).as_ref().map(TagName::as_str), Some(good));
        }
        for bad in ["", ".a", "-a", "a/b", "a:b", "ä", "a b", &"a".repeat(129)] {
            assert_eq!(TagName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn records_of_a_repository_lie_under_its_name() {
        let name = Repository::parse("team/app").unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let tag = TagName::parse("z").unwrap();
        for key in [name.manifest(&digest), name.link(&digest), name.tag(&tag), name.referrer(&digest, &digest)] {
            assert!(key.as_str().starts_with("repos/team/app/_"), "{key}");
        }
        assert!(name.tag(&tag).as_str().starts_with(&name.tags()));
        assert!(name.referrer(&digest, &digest).as_str().starts_with(&name.referrers(&digest)));
    }

    proptest! {
        #[test]
        fn every_name_is_a_safe_path(text in "[a-z0-9._/-]{0,40}") {
            if let Some(name) = Repository::parse(&text) {
                let key = name.link(&Digest::of(Algorithm::Sha256, b""));
                prop_assert!(ObjectKey::parse(key.as_str()).is_some());
                let below = format!("repos/{}/_blobs/", name.as_str());
                prop_assert!(key.as_str().starts_with(&below));
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let _ = (Repository::parse(&text), TagName::parse(&text));
        }
    }
}
