//! What can go wrong with a pull or a push, named by what the client is to do.

use crate::cache::WriteError;
use crate::model::digest::Digest;

/// Why a request of the registry's came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The repository has no such blob.
    #[error("the repository has no such blob; push it, or mount it from where it is")]
    BlobUnknown,
    /// The repository has no such manifest.
    #[error("the repository has no such manifest")]
    ManifestUnknown,
    /// There is no such repository.
    #[error("there is no such repository")]
    NameUnknown,
    /// The session is not this repository's and this user's, is over, or is too old.
    #[error("there is no such upload, or it is over; begin a new one")]
    UploadUnknown,
    /// The chunk does not begin where the last one ended.
    #[error("the upload has {0} bytes so far; go on from there")]
    OutOfOrder(u64),
    /// The upload came in too many chunks.
    #[error("an upload may have {0} chunks of more than 1 MiB in all; send larger ones")]
    TooManyChunks(usize),
    /// The blob is larger than is taken.
    #[error("the blob is larger than oci.max_blob of this node")]
    BlobTooLarge,
    /// The bytes are not those of the digest.
    #[error("the bytes that came have the digest {0}")]
    DigestMismatch(Digest),
    /// Not a manifest that is taken.
    #[error("{0}")]
    ManifestInvalid(String),
    /// What the manifest names is not there.
    #[error("push what the manifest names first; missing: {}", list(.0))]
    ManifestBlobUnknown(Vec<Digest>),
    /// What the manifest names has another size.
    #[error("{0}")]
    SizeInvalid(String),
    /// The store is full.
    #[error("the store is full; try again when its operator has made room")]
    NoSpace,
    /// The store cannot say now.
    #[error("the store does not answer; try again")]
    Unavailable,
}

fn list(digests: &[Digest]) -> String {
    let shown: Vec<_> = digests.iter().take(5).map(Digest::as_str).collect();
    let more = digests.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

impl From<WriteError> for RegistryError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NoSpace => Self::NoSpace,
            WriteError::Changed | WriteError::Unavailable => Self::Unavailable,
        }
    }
}
