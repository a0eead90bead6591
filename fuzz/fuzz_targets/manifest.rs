//! Manifests: no bytes panic, and what is read names nothing twice.
#![no_main]

use std::collections::HashSet;

use larder::model::manifest::Manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes, 64) {
        assert!(manifest.children.len() <= 64);
        let digests: HashSet<_> = manifest.children.iter().map(|child| &child.digest).collect();
        assert_eq!(digests.len(), manifest.children.len());
    }
});
