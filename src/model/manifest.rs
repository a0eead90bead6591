//! What a manifest names, read from its JSON without changing a byte of it.
//!
//! Docker's image manifest v2s2 and manifest list, the OCI image manifest and index, and the artifact manifest of the
//! image-spec's release candidates. Fields that are not known here are left alone, and so are media types: what has the
//! shape of a manifest is one.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::digest::Digest;

/// The longest list in a manifest that is read at all.
pub const MOST_DESCRIPTORS: usize = 20_000;

/// A manifest as it was read.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The media type that it says it has.
    pub media_type: Option<String>,
    /// What has to be there before it: configuration, layers, blobs, manifests. In order, each once.
    pub children: Vec<Child>,
    /// The manifest that this one refers to, which need not be there.
    pub subject: Option<Digest>,
    /// Its own artifact type, or that of its configuration.
    pub artifact_type: Option<String>,
    /// Its annotations, an object of JSON as it stands there.
    pub annotations: Option<Box<RawValue>>,
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

/// What is looked at of a manifest, borrowed from its text: what it takes in memory beside that is bounded.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    media_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    artifact_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    config: Option<Descriptor<'a>>,
    #[serde(borrow)]
    layers: Option<Descriptors<'a>>,
    #[serde(borrow)]
    blobs: Option<Descriptors<'a>>,
    #[serde(borrow)]
    manifests: Option<Descriptors<'a>>,
    #[serde(borrow)]
    subject: Option<Descriptor<'a>>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    #[serde(borrow, default)]
    media_type: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    size: u64,
}

/// A list that ends reading when it is too long.
struct Descriptors<'a>(Vec<Descriptor<'a>>);

impl<'a> Descriptors<'a> {
    fn into_list(list: Option<Self>) -> Vec<Descriptor<'a>> {
        list.map(|list| list.0).unwrap_or_default()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Descriptors<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
            type Value = Descriptors<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of descriptors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut descriptors = Vec::new();
                while let Some(descriptor) = list.next_element()? {
                    if descriptors.len() == MOST_DESCRIPTORS {
                        return Err(serde::de::Error::custom(format!("more than {MOST_DESCRIPTORS} descriptors")));
                    }
                    descriptors.push(descriptor);
                }
                Ok(Descriptors(descriptors))
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// Texts under texts (image-spec, annotations.md): looked at, not kept.
struct Annotations;

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                while map.next_entry::<Cow<'_, str>, Cow<'_, str>>()?.is_some() {}
                Ok(Annotations)
            }

            fn visit_unit<E>(self) -> Result<Annotations, E> {
                Ok(Annotations) // null: there are none
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl Manifest {
    /// Reads a manifest that names at most `widest` children.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: &[u8], widest: usize) -> Result<Self, ManifestError> {
        // JSON is UTF-8 (RFC 8259, section 8.1), also in what is not looked at here.
        let text = std::str::from_utf8(bytes).map_err(|e| ManifestError::Json(e.to_string()))?;
        let raw: Raw<'_> = serde_json::from_str(text).map_err(|e| ManifestError::Json(e.to_string()))?;
        if raw.config.is_none() && raw.layers.is_none() && raw.blobs.is_none() && raw.manifests.is_none() {
            return Err(ManifestError::Json("neither config nor layers nor manifests stand there".into()));
        }
        let of_config = raw.config.as_ref().map(|config| config.media_type.clone().into_owned());
        let mut children = Vec::new();
        let mut seen = std::collections::HashMap::new();
        let list = Descriptors::into_list;
        let blobs = raw.config.into_iter().chain(list(raw.layers)).chain(list(raw.blobs));
        let blobs = blobs.map(|descriptor| (descriptor, Kind::Blob));
        let manifests = list(raw.manifests).into_iter().map(|descriptor| (descriptor, Kind::Manifest));
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
        if let Some(annotations) = raw.annotations {
            let Annotations = serde_json::from_str(annotations.get())
                .map_err(|e| ManifestError::Json(format!("annotations map texts to texts: {e}")))?;
        }
        let owned = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
        Ok(Self {
            media_type: owned(raw.media_type),
            children,
            subject: raw.subject.map(|subject| subject.digest()).transpose()?,
            artifact_type: owned(raw.artifact_type).or(of_config),
            annotations: raw.annotations.map(ToOwned::to_owned),
        })
    }
}

impl Descriptor<'_> {
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
        assert_eq!(Manifest::parse(text.as_bytes(), 1).unwrap_err(), ManifestError::TooWide(1));
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
        let many = vec![r#"{"digest":"x","size":1}"#; MOST_DESCRIPTORS + 1].join(",");
        assert!(matches!(parse(&format!(r#"{{"layers":[{many}]}}"#)), ManifestError::Json(_)));
        assert!(matches!(parse(r#"{"layers":[],"annotations":[1]}"#), ManifestError::Json(_)));
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
