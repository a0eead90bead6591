//! What a manifest names, read from its JSON without changing a byte of it.
//!
//! Docker's image manifest v2s2 and manifest list, the OCI image manifest and index, and the artifact manifest of the
//! image-spec's release candidates. Fields that are not known here are left alone, and so are media types: what has the
//! shape of a manifest is one.

use serde::Deserialize;

use super::digest::Digest;

/// A manifest as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The media type that it says it has.
    pub media_type: Option<String>,
    /// What has to be there before it: configuration, layers, blobs, manifests. In order, each once.
    pub children: Vec<Child>,
    /// The manifest that this one refers to, which need not be there.
    pub subject: Option<Digest>,
    /// Its own artifact type, or that of its configuration.
    pub artifact_type: Option<String>,
    /// Its annotations, as they stand there.
    pub annotations: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Something that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its content.
    pub digest: Digest,
    /// Its length in bytes, as the descriptor says.
    pub size: u64,
    /// Where it is looked for.
    pub kind: Kind,
}

/// What a child may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A blob of the same repository.
    Blob,
    /// A manifest of the same repository; BuildKit's cache indexes name blobs in the same place.
    Manifest,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not the shape of a manifest.
    #[error("not the JSON of a manifest: {0}")]
    Json(String),
    /// A descriptor's digest is not one.
    #[error("`{0}` is not a digest; sha256 and sha512 are known")]
    Digest(String),
    /// It names too much.
    #[error("it names more than {0} blobs and manifests")]
    TooWide(usize),
    /// One digest with two sizes.
    #[error("{0} stands there with two sizes")]
    TwoSizes(Digest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    blobs: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
}

impl Manifest {
    /// Reads a manifest that names at most `widest` children.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: &[u8], widest: usize) -> Result<Self, ManifestError> {
        // JSON is UTF-8 (RFC 8259, section 8.1), also in what is not looked at here.
        let text = std::str::from_utf8(bytes).map_err(|e| ManifestError::Json(e.to_string()))?;
        let raw: Raw = serde_json::from_str(text).map_err(|e| ManifestError::Json(e.to_string()))?;
        if raw.config.is_none() && raw.layers.is_none() && raw.blobs.is_none() && raw.manifests.is_none() {
            return Err(ManifestError::Json("neither config nor layers nor manifests stand there".into()));
        }
        let of_config = raw.config.as_ref().map(|config| config.media_type.clone());
        let mut children = Vec::new();
        let mut seen = std::collections::HashMap::new();
        let blobs = raw.config.into_iter().chain(raw.layers.into_iter().flatten());
        let blobs = blobs.chain(raw.blobs.into_iter().flatten()).map(|descriptor| (descriptor, Kind::Blob));
        let manifests = raw.manifests.into_iter().flatten().map(|descriptor| (descriptor, Kind::Manifest));
        for (descriptor, kind) in blobs.chain(manifests) {
            if descriptor.lies_elsewhere() {
                continue;
            }
            let digest = descriptor.digest()?;
            match seen.insert(digest.clone(), descriptor.size) {
                None => children.push(Child { digest, size: descriptor.size, kind }),
                Some(size) if size == descriptor.size => {}
                Some(_) => return Err(ManifestError::TwoSizes(digest)),
            }
            if children.len() > widest {
                return Err(ManifestError::TooWide(widest));
            }
        }
        Ok(Self {
            media_type: raw.media_type.filter(|text| !text.is_empty()),
            children,
            subject: raw.subject.map(|subject| subject.digest()).transpose()?,
            artifact_type: raw.artifact_type.filter(|text| !text.is_empty()).or(of_config),
            annotations: raw.annotations,
        })
    }
}

impl Descriptor {
    fn digest(&self) -> Result<Digest, ManifestError> {
        Digest::parse(&self.digest)
            .ok_or_else(|| ManifestError::Digest(self.digest.chars().take(160).flat_map(char::escape_debug).collect()))
    }

    /// Layers that may not be distributed are not pushed: clients fetch them from where `urls` points.
    fn lies_elsewhere(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::digest::Algorithm;

    fn d(n: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &[n])
    }

    #[test]
    fn an_image_names_its_configuration_and_each_layer_once() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"m","config":{{"mediaType":"c","digest":"{}","size":1}},
            "layers":[{{"digest":"{}","size":2}},{{"digest":"{}","size":2,"unknown":[1]}}],"unknown":{{}}}}"#,
            d(0),
            d(1),
            d(1)
        );
        let manifest = Manifest::parse(text.as_bytes(), 10).unwrap();
        let blob = |n, size| Child { digest: d(n), size, kind: Kind::Blob };
        assert_eq!(manifest.children, [blob(0, 1), blob(1, 2)]);
        assert_eq!((manifest.media_type.as_deref(), manifest.artifact_type.as_deref()), (Some("m"), Some("c")));
        assert_eq!(Manifest::parse(text.as_bytes(), 1), Err(ManifestError::TooWide(1)));
    }

    #[test]
    fn an_index_names_manifests_and_a_subject_is_no_child() {
        let text = format!(
            r#"{{"manifests":[{{"digest":"{}","size":7}}],"subject":{{"digest":"{}","size":1}},"artifactType":"a"}}"#,
            d(0),
            d(1)
        );
        let manifest = Manifest::parse(text.as_bytes(), 10).unwrap();
        assert_eq!(manifest.children, [Child { digest: d(0), size: 7, kind: Kind::Manifest }]);
        assert_eq!((manifest.subject, manifest.artifact_type.as_deref()), (Some(d(1)), Some("a")));
    }

    #[test]
    fn foreign_layers_need_not_be_there() {
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let text =
            format!(r#"{{"layers":[{{"mediaType":"{foreign}","digest":"{}","size":7,"urls":["https://x"]}}]}}"#, d(0));
        assert_eq!(Manifest::parse(text.as_bytes(), 10).unwrap().children, []);
    }

    #[test]
    fn what_is_no_manifest_says_why() {
        let parse = |text: &str| Manifest::parse(text.as_bytes(), 10).unwrap_err();
        assert!(matches!(parse("["), ManifestError::Json(_)));
        let odd = Manifest::parse(b"{\"layers\":[],\"x\":\"\xff\"}", 10);
        assert!(matches!(odd, Err(ManifestError::Json(_))));
        assert!(matches!(parse("{}"), ManifestError::Json(_)));
        assert!(matches!(parse(r#"{"layers":[{"digest":"x","size":-1}]}"#), ManifestError::Json(_)));
        assert!(matches!(parse(r#"{"layers":[{"digest":"x","size":1}]}"#), ManifestError::Digest(_)));
        let two = format!(r#"{{"layers":[{{"digest":"{0}","size":1}},{{"digest":"{0}","size":2}}]}}"#, d(0));
        assert_eq!(parse(&two), ManifestError::TwoSizes(d(0)));
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(&format!(r#"{{"layers":[],"annotations":{deep}"#)), ManifestError::Json(_)));
    }

    #[test]
    fn no_layers_at_all_is_an_image_too() {
        assert_eq!(Manifest::parse(br#"{"layers":[]}"#, 10).unwrap().children, []);
        assert_eq!(Manifest::parse(br#"{"manifests":[]}"#, 10).unwrap().children, []);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::parse(&bytes, 3);
        }
    }
}
