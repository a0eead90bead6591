//! Errors in the distribution-spec's form ("Error Codes"), and the one place where the registry's errors become them.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::registry::RegistryError;
use crate::web::answer;

/// The codes of the distribution-spec, and a few of its forerunner's that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// There is no such blob in the repository.
    BlobUnknown,
    /// The upload cannot go on like this.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// Not a digest, or not that of the bytes.
    DigestInvalid,
    /// Something that the manifest names is missing.
    ManifestBlobUnknown,
    /// Not a manifest that is taken.
    ManifestInvalid,
    /// There is no such manifest in the repository.
    ManifestUnknown,
    /// Not a repository's name.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// Not a number of names.
    PaginationNumberInvalid,
    /// Another length than was said, or too long.
    SizeInvalid,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// This user may not.
    Denied,
    /// Not possible here.
    Unsupported,
    /// No endpoint has this path.
    NotFound,
    /// Come back later.
    Unavailable,
    /// larder's own mistake.
    Unknown,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported | Self::NotFound => "UNSUPPORTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestBlobUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::PaginationNumberInvalid
            | Self::SizeInvalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciError {
    /// What kind.
    pub code: Code,
    /// How many bytes of the upload are kept, where the client has to go on from there.
    pub resume_at: Option<u64>,
    status: StatusCode,
    message: String,
}

impl OciError {
    /// An error with its code's status.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, resume_at: None, status: code.status(), message: message.into() }
    }

    /// The same with another status.
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// A text that is no digest.
    pub fn digest(text: &str) -> Self {
        let message = format!("`{}` is not a digest: sha256 or sha512, a colon, lower-case hex", clip(text));
        Self::new(Code::DigestInvalid, message)
    }

    /// A text that is no repository's name.
    pub fn name(text: &str) -> Self {
        let message = format!("`{}` is not a repository's name: [a-z0-9._-] between slashes, at most 255", clip(text));
        Self::new(Code::NameInvalid, message)
    }

    /// A body that is larger than is taken.
    pub fn too_large(what: &str, limit: impl std::fmt::Display, key: &str) -> Self {
        let message = format!("the {what} is larger than {limit}, which is {key} of this node");
        Self::new(Code::SizeInvalid, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// Whether the client is to come back with the same request.
    pub fn is_retryable(&self) -> bool {
        self.code == Code::Unavailable
    }

    /// The answer. go-containerregistry tries again when every code is one of UNKNOWN, UNAVAILABLE, TOOMANYREQUESTS or
    /// BLOB_UPLOAD_INVALID: an error has one code, and the ones that pass by themselves have UNAVAILABLE.
    pub fn into_response(self) -> Response<Body> {
        let body = json!({ "errors": [{ "code": self.code.as_str(), "message": self.message }] });
        let response = answer::json(self.status, &body);
        if self.is_retryable() {
            return answer::with(response, header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RegistryError> for OciError {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        let code = match error {
            RegistryError::BlobUnknown => Code::BlobUnknown,
            RegistryError::ManifestUnknown => Code::ManifestUnknown,
            RegistryError::NameUnknown => Code::NameUnknown,
            RegistryError::UploadUnknown => Code::BlobUploadUnknown,
            RegistryError::OutOfOrder(size) => {
                let error = Self::new(Code::BlobUploadInvalid, message);
                return Self { resume_at: Some(size), ..error.with_status(StatusCode::RANGE_NOT_SATISFIABLE) };
            }
            RegistryError::TooManyChunks(_) => Code::BlobUploadInvalid,
            RegistryError::BlobTooLarge => {
                return Self::new(Code::SizeInvalid, message).with_status(StatusCode::PAYLOAD_TOO_LARGE);
            }
            RegistryError::DigestMismatch(_) => Code::DigestInvalid,
            RegistryError::ManifestInvalid(_) => Code::ManifestInvalid,
            RegistryError::ManifestBlobUnknown(_) => Code::ManifestBlobUnknown,
            RegistryError::SizeInvalid(_) => Code::SizeInvalid,
            RegistryError::NoSpace | RegistryError::Unavailable => Code::Unavailable,
        };
        Self::new(code, message)
    }
}

/// What a client sent, safe to be shown.
pub fn clip(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
