//! The paths of the distribution-spec ("Endpoints"), read from the right: a repository's name has slashes of its own.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::error::{Code, OciError};
use crate::model::digest::Digest;
use crate::model::repository::{Reference, Repository, TagName};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`.
    Ping,
    /// `/v2/token`.
    Token,
    /// `/v2/_catalog`.
    Catalog,
    /// Something of a repository's.
    In(Repository, Endpoint),
}

/// What of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `tags/list`.
    Tags,
    /// `blobs/uploads/`.
    Uploads,
    /// `blobs/uploads/<ticket>`.
    Upload(String),
    /// `blobs/<digest>`.
    Blob(Digest),
    /// `manifests/<reference>`.
    Manifest(Reference),
    /// `manifests/<text>` where the text can be no tag.
    NoManifest,
    /// `referrers/<digest>`.
    Referrers(Digest),
}

impl Route {
    /// The methods that a route takes.
    pub const fn methods(&self) -> &'static str {
        match self {
            Self::In(_, Endpoint::Manifest(_) | Endpoint::NoManifest) => "GET, HEAD, PUT, DELETE",
            Self::In(_, Endpoint::Blob(_)) => "GET, HEAD, DELETE",
            Self::In(_, Endpoint::Upload(_)) => "GET, HEAD, PATCH, PUT, DELETE",
            Self::In(_, Endpoint::Uploads) => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Reads what follows `/v2` in a path; percent escapes are decoded.
    pub fn parse(path: &str) -> Result<Self, OciError> {
        let path: Cow<'_, str> = match path.contains('%') {
            false => path.into(),
            true => percent_decode_str(path)
                .decode_utf8()
                .map_err(|_| OciError::new(Code::NameInvalid, "the path is not UTF-8"))?,
        };
        let path = path.strip_prefix('/').unwrap_or(&path);
        match path {
            "" => return Ok(Self::Ping),
            "token" => return Ok(Self::Token),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let unknown = || OciError::new(Code::NotFound, "there is no such endpoint below /v2/");
        let (rest, last) = path.rsplit_once('/').ok_or_else(unknown)?;
        let (name, kind) = rest.rsplit_once('/').unwrap_or(("", rest));
        let digest = |text: &str| Digest::parse(text).ok_or_else(|| OciError::digest(text));
        // `blobs/uploads` is no digest: what stands before the last two parts decides.
        let (name, endpoint) = match (kind, last) {
            ("tags", "list") => (name, Endpoint::Tags),
            ("blobs", "uploads") => (name, Endpoint::Uploads),
            ("blobs", text) => (name, Endpoint::Blob(digest(text)?)),
            ("manifests", text) => (name, manifest(text)?),
            ("referrers", text) => (name, Endpoint::Referrers(digest(text)?)),
            ("uploads", ticket) => match name.rsplit_once('/').unwrap_or(("", name)) {
                (name, "blobs") if ticket.is_empty() => (name, Endpoint::Uploads),
                (name, "blobs") => (name, Endpoint::Upload(ticket.to_owned())),
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        let repository = Repository::parse(name).ok_or_else(|| OciError::name(name))?;
        Ok(Self::In(repository, endpoint))
    }
}

fn manifest(text: &str) -> Result<Endpoint, OciError> {
    if text.contains(':') {
        return Digest::parse(text)
            .map(|digest| Endpoint::Manifest(Reference::Digest(digest)))
            .ok_or_else(|| OciError::digest(text));
    }
    Ok(TagName::parse(text).map_or(Endpoint::NoManifest, |tag| Endpoint::Manifest(Reference::Tag(tag))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn of(name: &str, endpoint: Endpoint) -> Route {
        Route::In(Repository::parse(name).unwrap(), endpoint)
    }

    #[test]
    fn every_endpoint_is_found_whatever_the_name_looks_like() {
        let digest = Digest::parse(D).unwrap();
        for path in ["/", ""] {
            assert_eq!(Route::parse(path).unwrap(), Route::Ping);
        }
        assert_eq!(Route::parse("/token").unwrap(), Route::Token);
        assert_eq!(Route::parse("/_catalog").unwrap(), Route::Catalog);
        for name in ["a", "team/app", "blobs", "a/blobs", "a/blobs/uploads", "manifests/tags", "a/tags/list"] {
            let parse = |rest: &str| Route::parse(&format!("/{name}/{rest}")).unwrap();
            assert_eq!(parse("tags/list"), of(name, Endpoint::Tags));
            assert_eq!(parse("blobs/uploads/"), of(name, Endpoint::Uploads));
            assert_eq!(parse("blobs/uploads"), of(name, Endpoint::Uploads));
            assert_eq!(parse("blobs/uploads/x-_y"), of(name, Endpoint::Upload("x-_y".into())));
            assert_eq!(parse(&format!("blobs/{D}")), of(name, Endpoint::Blob(digest.clone())));
            assert_eq!(parse(&format!("referrers/{D}")), of(name, Endpoint::Referrers(digest.clone())));
            let by_digest = Endpoint::Manifest(Reference::Digest(digest.clone()));
            assert_eq!(parse(&format!("manifests/{D}")), of(name, by_digest.clone()));
            assert_eq!(parse(&format!("manifests/{}", D.replace(':', "%3A"))), of(name, by_digest));
            let tag = TagName::parse("uploads").unwrap();
            assert_eq!(parse("manifests/uploads"), of(name, Endpoint::Manifest(Reference::Tag(tag))));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let code = |path: &str| Route::parse(path).unwrap_err().code;
        assert_eq!(code("/A/tags/list"), Code::NameInvalid);
        assert_eq!(code("/tags/list"), Code::NameInvalid);
        assert_eq!(code("/a/../b/tags/list"), Code::NameInvalid);
        assert_eq!(code("/a%2f..%2fb/tags/list"), Code::NameInvalid);
        assert_eq!(code("/a/blobs/sha256:short"), Code::DigestInvalid);
        assert_eq!(code("/a/manifests/sha256:totallywrong"), Code::DigestInvalid);
        assert_eq!(code("/a/b/c"), Code::NotFound);
        assert_eq!(code("/nothing"), Code::NotFound);
        assert_eq!(code("/%ff/tags/list"), Code::NameInvalid);
        assert_eq!(Route::parse("/a/manifests/.x").unwrap(), of("a", Endpoint::NoManifest));
    }

    proptest! {
        #[test]
        fn nothing_panics(path in ".{0,80}") {
            let _ = Route::parse(&path);
        }
    }
}
