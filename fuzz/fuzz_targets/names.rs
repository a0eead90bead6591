//! Names, tags and digests: what is accepted is a safe key.
#![no_main]

use larder::model::digest::{Algorithm, Digest};
use larder::model::object::ObjectKey;
use larder::model::repository::{Repository, TagName};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Some(name) = Repository::parse(text) {
        let link = name.link(&Digest::of(Algorithm::Sha256, b""));
        assert!(ObjectKey::parse(link.as_str()).is_some());
        assert_eq!(link.as_str().matches("/_").count(), 1);
    }
    if let Some(tag) = TagName::parse(text) {
        assert!(!tag.as_str().contains('/'));
    }
    if let Some(digest) = Digest::parse(text) {
        assert_eq!(digest.as_str(), text);
        assert!(ObjectKey::parse(digest.blob().as_str()).is_some());
    }
});
