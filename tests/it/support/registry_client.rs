//! A registry client that sends what it is told to, and the four ways to push a blob.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::io::AsyncWriteExt as _;

use super::http::basic;
use super::{Answer, Connection, TestNode};

pub const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How the bytes of a blob go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST` with the digest.
    Post,
    /// `POST`, then everything in the `PUT`.
    Put,
    /// `POST`, one `PATCH` with a length, `PUT`.
    Patch,
    /// `POST`, one chunked `PATCH`, `PUT`.
    Chunked,
    /// `POST`, several `PATCH`es with a Content-Range, the last piece with the `PUT`.
    Pieces,
}

pub const WAYS: [Way; 5] = [Way::Post, Way::Put, Way::Patch, Way::Chunked, Way::Pieces];

/// One client on one connection, for one repository.
pub struct RegistryClient {
    pub connection: Connection,
    pub repository: String,
    address: SocketAddr,
    credentials: Option<String>,
}

impl RegistryClient {
    /// A client of user `ci`.
    pub async fn ci(node: &TestNode, repository: &str) -> Self {
        Self::of(node.address, repository, Some(&basic("ci", "pw"))).await
    }

    /// A client of a user of the test node.
    pub async fn user(node: &TestNode, repository: &str, user: &str) -> Self {
        Self::of(node.address, repository, Some(&basic(user, "pw"))).await
    }

    /// A client with this `Authorization`, or none.
    pub async fn of(address: SocketAddr, repository: &str, credentials: Option<&str>) -> Self {
        let connection = Connection::open(address).await;
        Self { connection, repository: repository.into(), address, credentials: credentials.map(str::to_owned) }
    }

    /// The same client in another repository.
    pub async fn within(&self, repository: &str) -> Self {
        Self::of(self.address, repository, self.credentials.as_deref()).await
    }

    /// One request. A path that does not begin with a slash is one below the repository.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.begin(method, path, headers, Some(body.len())).await;
        let _ = self.connection.stream.write_all(body).await;
        self.answer(method).await
    }

    /// One request whose body comes in pieces of this size, without a length.
    pub async fn send_chunked(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        piece: usize,
    ) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("Transfer-Encoding", "chunked")]).collect();
        self.begin(method, path, &headers, None).await;
        for piece in body.chunks(piece) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            let _ = self.connection.stream.write_all(&chunk).await;
        }
        let _ = self.connection.stream.write_all(b"0\r\n\r\n").await;
        self.answer(method).await
    }

    /// Only the head of a request.
    pub async fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/v2/{}/{path}", self.repository) };
        let credentials = self.credentials.clone();
        let own = credentials.iter().map(|value| ("Authorization", value.as_str()));
        let headers: Vec<_> = own.chain(headers.iter().copied()).collect();
        self.connection.head(method, &path, &headers, length).await;
    }

    /// The answer; after one that closes the connection there is a new one.
    pub async fn answer(&mut self, method: &str) -> Answer {
        let answer = self.connection.answer(method).await;
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.connection = Connection::open(self.address).await;
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub async fn head(&mut self, path: &str) -> Answer {
        self.send("HEAD", path, &[], b"").await
    }

    /// The status of a `GET`.
    pub async fn status(&mut self, path: &str) -> u16 {
        self.get(path).await.status
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"").await
    }

    /// Begins an upload and gives its location.
    pub async fn session(&mut self) -> String {
        let answer = self.send("POST", "blobs/uploads/", &[], b"").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.header("range"), Some("0-0"));
        assert!(answer.header("docker-upload-uuid").is_some_and(|id| !id.is_empty()));
        location(&answer)
    }

    /// The next bytes of an upload, with a Content-Range from `at` on where it is given.
    pub async fn patch(&mut self, session: &str, at: Option<usize>, bytes: &[u8]) -> Answer {
        match at.map(|at| content_range(at, bytes.len())) {
            Some(range) => self.send("PATCH", session, &[("Content-Range", &range)], bytes).await,
            None => self.send("PATCH", session, &[], bytes).await,
        }
    }

    /// The end of an upload.
    pub async fn put(&mut self, session: &str, digest: &str, bytes: &[u8]) -> Answer {
        self.send("PUT", &format!("{session}?digest={digest}"), &[], bytes).await
    }

    /// Pushes a blob and gives its digest. `Pieces` are of an odd size.
    pub async fn push(&mut self, way: Way, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.push_as(way, &digest, bytes).await;
        digest
    }

    /// Pushes a blob under this digest of it.
    pub async fn push_as(&mut self, way: Way, digest: &str, bytes: &[u8]) {
        let answer = match way {
            Way::Post => self.send("POST", &format!("blobs/uploads/?digest={digest}"), &[], bytes).await,
            Way::Put => {
                let session = self.session().await;
                self.put(&session, digest, bytes).await
            }
            Way::Patch | Way::Chunked => {
                let session = self.session().await;
                let patched = match way {
                    Way::Patch => self.patch(&session, None, bytes).await,
                    _ => self.send_chunked("PATCH", &session, &[], bytes, 77_777).await,
                };
                assert!(has_taken(&patched, bytes.len()), "{patched:?}");
                let location = location(&patched);
                self.put(&location, digest, b"").await
            }
            Way::Pieces => {
                let mut session = self.session().await;
                let piece = (bytes.len() / 4).max(1) | 1;
                let (mut at, last) = (0, bytes.len().saturating_sub(1) / piece);
                for piece in bytes.chunks(piece).take(last) {
                    let patched = self.patch(&session, Some(at), piece).await;
                    at += piece.len();
                    assert!(has_taken(&patched, at), "{patched:?}");
                    session = location(&patched);
                }
                self.put(&session, digest, &bytes[at..]).await
            }
        };
        assert_eq!(answer.status, 201, "{way:?} of {} bytes: {}", bytes.len(), answer.text());
        assert_eq!(answer.header("docker-content-digest"), Some(digest));
        assert_eq!(location(&answer), format!("/v2/{}/blobs/{digest}", self.repository));
    }

    /// Pushes a manifest under a tag or a digest.
    pub async fn put_manifest(&mut self, reference: &str, media_type: &str, bytes: &[u8]) -> Answer {
        self.send("PUT", &format!("manifests/{reference}"), &[("Content-Type", media_type)], bytes).await
    }

    /// Pushes a manifest that is taken, under a tag and by its digest, and gives the digest.
    pub async fn push_manifest(&mut self, tag: &str, media_type: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        for reference in [digest.as_str(), tag] {
            let answer = self.put_manifest(reference, media_type, bytes).await;
            assert_eq!(answer.status, 201, "{reference}: {}", answer.text());
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(location(&answer), format!("/v2/{}/manifests/{digest}", self.repository));
        }
        digest
    }

    /// Pushes an image of a configuration and these layers under a tag; gives its manifest.
    pub async fn push_image(&mut self, tag: &str, config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
        for blob in layers.iter().chain([&config]) {
            self.push(Way::Patch, blob).await;
        }
        let manifest = image(config, layers);
        self.push_manifest(tag, OCI, &manifest).await;
        manifest
    }
}

/// `sha256:` and the hex of it.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// `sha512:` and the hex of it.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The Content-Range of a piece, as the distribution-spec writes it.
pub fn content_range(at: usize, len: usize) -> String {
    format!("{at}-{}", (at + len).saturating_sub(1))
}

/// The `Location` of an answer; always a path on the same host.
pub fn location(answer: &Answer) -> String {
    let location = answer.header("location").expect("a Location");
    assert!(location.starts_with("/v2/"), "{location}");
    location.to_owned()
}

/// Whether this is the answer to a `PATCH` after which the upload has this many bytes, as docker wants it.
pub fn has_taken(answer: &Answer, size: usize) -> bool {
    answer.status == 202 && at(answer) == range_of(size) && answer.header("docker-upload-uuid").is_some()
}

/// The `Range` of an answer that says how far an upload is.
pub fn at(answer: &Answer) -> String {
    answer.header("range").unwrap_or_default().to_owned()
}

/// How it is told that an upload has this many bytes; one byte looks like none.
pub fn range_of(size: usize) -> String {
    format!("0-{}", size.saturating_sub(1))
}

/// Status and code of an answer; the code is empty where it is no error.
pub fn told(answer: &Answer) -> (u16, String) {
    let codes = codes(&answer.body);
    assert!(codes.len() <= 1 && (answer.status < 400) == codes.is_empty(), "{}: {}", answer.status, answer.text());
    (answer.status, codes.into_iter().next().unwrap_or_default())
}

/// The codes of an error in the distribution-spec's form.
pub fn codes(body: &[u8]) -> Vec<String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["code"].as_str().unwrap_or_default().to_owned()).collect()
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// An OCI image manifest.
pub fn image(config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let layer = |bytes: &&[u8]| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", bytes);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    serde_json::to_vec_pretty(&manifest).unwrap()
}

/// An OCI index of these manifests.
pub fn index(manifests: &[&[u8]]) -> Vec<u8> {
    let manifests: Vec<_> = manifests.iter().map(|bytes| descriptor(OCI, bytes)).collect();
    serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })).unwrap()
}
