//! A model of kaniko with `--cache-repo` (go-containerregistry): it sends what kaniko sends, in its order and on its
//! connections, and judges answers as kaniko judges them.
//!
//! Every lookup is a transport of its own: a TLS hello to the plain port, an anonymous ping, then the request. Any error
//! is a miss. What is answered as temporary is tried three times within 0.4 s, an upload as a whole a second later.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http::basic;
use super::registry_client::{DOCKER, codes, sha256};
use super::{Answer, Connection};

/// A TLS hello on a plain port that is not closed by then costs every lookup this much.
const HELLO_STALL: Duration = Duration::from_millis(300);
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300)];
const BEFORE_ANOTHER_UPLOAD: Duration = Duration::from_secs(1);
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v1+json,\
    application/vnd.docker.distribution.manifest.v1+prettyjws,application/vnd.docker.distribution.manifest.v2+json,\
    application/vnd.oci.image.manifest.v1+json,application/vnd.docker.distribution.manifest.list.v2+json,\
    application/vnd.oci.image.index.v1+json";

/// How the one PATCH with a whole blob is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Up to 1.19.
    Chunked,
    /// Since then.
    Length,
}

/// One kaniko with one cache repository.
#[derive(Debug, Clone)]
pub struct Kaniko {
    pub address: SocketAddr,
    pub repository: &'static str,
    pub user: &'static str,
    pub framing: Framing,
}

/// A step's layer as it is cached.
#[derive(Debug, Clone)]
pub struct Step {
    pub tag: String,
    pub config: Vec<u8>,
    /// None for a step that changed no file.
    pub layer: Option<Vec<u8>>,
}

/// An answer that kaniko does not want, after all tries.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub codes: Vec<String>,
    pub request: String,
}

/// Whether go-containerregistry takes an answer for something that passes: by its codes where it has some, else by its
/// status.
pub fn is_tried_again(status: u16, body: &[u8]) -> bool {
    let temporary = ["UNKNOWN", "UNAVAILABLE", "TOOMANYREQUESTS", "BLOB_UPLOAD_INVALID"];
    let codes = codes(body);
    let says_so = if body.is_empty() { true } else { !codes.is_empty() };
    [408, 500, 502, 503, 504].contains(&status) && says_so && codes.iter().all(|code| temporary.contains(&&**code))
}

impl Step {
    /// A step with the sha256 of its composite key as its tag.
    pub fn new(key: &str, layer: Option<Vec<u8>>) -> Self {
        let config = json!({ "architecture": "amd64", "created": "2026-01-01T00:00:00Z", "history": [key] });
        Self { tag: sha256(key.as_bytes())["sha256:".len()..].into(), config: config.to_string().into_bytes(), layer }
    }

    pub fn manifest(&self) -> Vec<u8> {
        let of = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": sha256(bytes) });
        let layer = |bytes| of("application/vnd.docker.image.rootfs.diff.tar.gzip", bytes);
        let layers: Vec<_> = self.layer.iter().map(|bytes| layer(bytes)).collect();
        let config = of("application/vnd.docker.container.image.v1+json", &self.config);
        json!({ "schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": layers }).to_string().into_bytes()
    }

    fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.layer.iter().chain([&self.config])
    }
}

/// A connection of a transport that has found out how to log in.
struct Transport {
    connection: Connection,
    authorization: Option<String>,
}

impl Kaniko {
    pub fn new(address: SocketAddr, framing: Framing) -> Self {
        Self { address, repository: "team/cache", user: "ci", framing }
    }

    /// Looks a step up: its manifest, and on a hit its configuration on another transport.
    pub async fn lookup(&self, step: &Step) -> bool {
        let path = format!("/v2/{}/manifests/{}", self.repository, step.tag);
        let Ok(answer) = self.get(&path, &[("Accept", ACCEPT)]).await else { return false };
        assert_eq!(answer.header("content-type"), Some(DOCKER), "the type that was pushed");
        assert_eq!(answer.header("docker-content-digest"), Some(sha256(&answer.body).as_str()));
        let manifest: Value = serde_json::from_slice(&answer.body).unwrap();
        let digest = manifest["config"]["digest"].as_str().unwrap();
        let Ok(config) = self.get(&format!("/v2/{}/blobs/{digest}", self.repository), &[]).await else { return false };
        assert_eq!(sha256(&config.body), digest);
        assert_eq!(config.header("content-encoding"), None);
        answer.body == step.manifest() && config.body == step.config
    }

    /// Pulls a layer when its step runs; there is no second chance.
    pub async fn pull(&self, layer: &[u8]) -> Result<(), Refused> {
        let answer = self.get(&format!("/v2/{}/blobs/{}", self.repository, sha256(layer)), &[]).await?;
        assert!(answer.body == layer, "a layer came back as other bytes");
        Ok(())
    }

    /// Whether it may push: an upload that is begun and given up.
    pub async fn may_push(&self) -> Result<(), Refused> {
        let mut transport = self.transport("push,pull").await?;
        let begun = self.begin(&mut transport).await?;
        let answer = self.exchange(&mut transport, "DELETE", &begun, &[], None).await;
        expect(&answer, &[204, 202, 200], "DELETE an upload")
    }

    /// Pushes a step's layer, configuration and manifest, in kaniko's order.
    pub async fn push(&self, step: &Step) -> Result<(), Refused> {
        let mut transport = self.transport("push,pull").await?;
        let path = format!("/v2/{}/manifests/{}", self.repository, step.tag);
        let head = self.tried(&mut transport, "HEAD", &path, &[("Accept", ACCEPT)], None).await;
        expect(&head, &[200, 404], "HEAD manifest")?;
        if head.status == 200 && head.header("docker-content-digest") == Some(&sha256(&step.manifest())) {
            return Ok(());
        }
        for blob in step.blobs() {
            self.push_blob(&mut transport, blob).await?;
        }
        let manifest = step.manifest();
        let answer = self.tried(&mut transport, "PUT", &path, &[("Content-Type", DOCKER)], Some(&manifest)).await;
        expect(&answer, &[200, 201, 202], "PUT manifest")
    }

    async fn push_blob(&self, transport: &mut Transport, blob: &[u8]) -> Result<(), Refused> {
        let path = format!("/v2/{}/blobs/{}", self.repository, sha256(blob));
        let head = self.tried(transport, "HEAD", &path, &[], None).await;
        expect(&head, &[200, 404], "HEAD blob")?;
        if head.status == 200 {
            assert!(head.header("content-type").is_some() && head.header("docker-content-digest").is_some());
            assert_eq!(head.header("content-length"), Some(blob.len().to_string().as_str()));
            return Ok(());
        }
        let mut outcome = Ok(());
        for pause in [Duration::ZERO, BEFORE_ANOTHER_UPLOAD, BEFORE_ANOTHER_UPLOAD * 3] {
            tokio::time::sleep(pause).await;
            outcome = self.upload(transport, blob).await;
            match &outcome {
                Err(refused) if refused.passes() => {}
                _ => return outcome,
            }
        }
        outcome
    }

    /// One upload from its beginning. Bodies are streams: what fails is not sent again on its own.
    async fn upload(&self, transport: &mut Transport, blob: &[u8]) -> Result<(), Refused> {
        let begun = self.begin(transport).await?;
        let patched = match self.framing {
            Framing::Length => self.exchange(transport, "PATCH", &begun, &[], Some(blob)).await,
            Framing::Chunked => self.exchange_chunked(transport, &begun, blob).await,
        };
        expect(&patched, &[204, 202, 201], "PATCH")?;
        let location = self.path_of(patched.header("location").expect("a Location"));
        let put = format!("{location}?digest={}", sha256(blob).replace(':', "%3A"));
        let answer = self.tried(transport, "PUT", &put, &[], Some(b"")).await;
        expect(&answer, &[201], "PUT blob")
    }

    async fn begin(&self, transport: &mut Transport) -> Result<String, Refused> {
        let path = format!("/v2/{}/blobs/uploads/", self.repository);
        let answer = self.tried(transport, "POST", &path, &[("Content-Type", "application/json")], Some(b"")).await;
        expect(&answer, &[202, 201], "POST an upload")?;
        Ok(self.path_of(answer.header("location").expect("a Location")))
    }

    /// A location as a path; an absolute one has to be on the same host and port.
    fn path_of(&self, location: &str) -> String {
        let own = format!("http://{}", self.address);
        let path = location.strip_prefix(&own).unwrap_or(location);
        assert!(path.starts_with("/v2/"), "{location}");
        path.to_owned()
    }

    /// A request on a transport of its own.
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Refused> {
        let mut transport = self.transport("pull").await?;
        let answer = self.tried(&mut transport, "GET", path, headers, None).await;
        expect(&answer, &[200], path)?;
        Ok(answer)
    }

    /// TLS first, then plain; a ping without credentials, then whatever its challenge asks for.
    async fn transport(&self, actions: &str) -> Result<Transport, Refused> {
        self.say_hello().await;
        let mut transport = Transport { connection: Connection::open(self.address).await, authorization: None };
        let ping = self.tried(&mut transport, "GET", "/v2/", &[], None).await;
        expect(&ping, &[200, 401], "GET /v2/")?;
        if ping.status == 200 {
            return Ok(transport);
        }
        let challenge = ping.header("www-authenticate").expect("a challenge").to_owned();
        let own = basic(self.user, "pw");
        if challenge.starts_with("Basic ") {
            transport.authorization = Some(own);
            return Ok(transport);
        }
        let realm = challenge.strip_prefix("Bearer realm=\"").and_then(|rest| rest.split('"').next()).unwrap();
        let scope = format!("?scope=repository%3A{}%3A{actions}&service=larder", self.repository.replace('/', "%2F"));
        transport.authorization = Some(own);
        let path = format!("{}{scope}", self.path_of(realm));
        let answer = self.tried(&mut transport, "GET", &path, &[], None).await;
        expect(&answer, &[200], "GET a token")?;
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        transport.authorization = Some(format!("Bearer {}", answer["token"].as_str().unwrap()));
        Ok(transport)
    }

    async fn say_hello(&self) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A record with a handshake in it, and what Go's client hello has inside.
        let mut hello = vec![0x16, 0x03, 0x01, 0x00, 0xf4, 0x01, 0x00, 0x00, 0xf0, 0x03, 0x03];
        hello.resize(5 + 0xf4, 0x5a);
        let begun = Instant::now();
        let _ = stream.write_all(&hello).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(HELLO_STALL, stream.read_to_end(&mut answer)).await.expect("closed at once");
        // Go takes an answer in HTTP for what it is: no TLS here.
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
        assert!(begun.elapsed() < HELLO_STALL);
    }

    /// A request that is tried again while its answer says that it passes.
    async fn tried(
        &self,
        transport: &mut Transport,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let mut answer = None;
        for pause in TRIES {
            tokio::time::sleep(pause).await;
            let now = self.exchange(transport, method, path, headers, body).await;
            if !is_tried_again(now.status, &now.body) {
                return now;
            }
            answer = Some(now);
        }
        answer.unwrap()
    }

    async fn exchange(
        &self,
        transport: &mut Transport,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
        self.head(transport, method, path, headers, &length).await;
        let _ = transport.connection.stream.write_all(body.unwrap_or_default()).await;
        self.answer(transport, method).await
    }

    async fn exchange_chunked(&self, transport: &mut Transport, path: &str, body: &[u8]) -> Answer {
        self.head(transport, "PATCH", path, &[], "Transfer-Encoding: chunked\r\n").await;
        // Go writes what its gzip gives, 32 KiB at a time.
        for piece in body.chunks(32 << 10) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            let _ = transport.connection.stream.write_all(&chunk).await;
        }
        let _ = transport.connection.stream.write_all(b"0\r\n\r\n").await;
        self.answer(transport, "PATCH").await
    }

    async fn head(&self, transport: &mut Transport, method: &str, path: &str, headers: &[(&str, &str)], framing: &str) {
        let authorization = transport.authorization.iter().map(|value| ("Authorization", value.as_str()));
        let own: String = authorization.chain(headers.iter().copied()).map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kaniko/v1.23.2\r\n{framing}{own}\
             Accept-Encoding: gzip\r\n\r\n",
            self.address
        );
        let _ = transport.connection.stream.write_all(head.as_bytes()).await;
    }

    async fn answer(&self, transport: &mut Transport, method: &str) -> Answer {
        let answer = transport.connection.answer(method).await;
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            transport.connection = Connection::open(self.address).await;
        }
        answer
    }
}

impl Refused {
    /// Whether another upload may go better.
    pub fn passes(&self) -> bool {
        let body = json!({ "errors": self.codes.iter().map(|code| json!({ "code": code })).collect::<Vec<_>>() });
        is_tried_again(self.status, body.to_string().as_bytes()) || (self.codes.is_empty() && self.status >= 500)
    }
}

fn expect(answer: &Answer, wanted: &[u16], request: &str) -> Result<(), Refused> {
    if wanted.contains(&answer.status) {
        return Ok(());
    }
    Err(Refused { status: answer.status, codes: codes(&answer.body), request: request.into() })
}
