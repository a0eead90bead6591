//! The load that `oci` puts on registries where wrk will not do: whole pushes, lookups on fresh connections, bodies too
//! large for wrk's pieces of 8 KiB. One file and the standard library alone, so that `rustc -O` is all it takes.
//!
//! ```text
//! oci_load MODE --addr HOST:PORT --repo NAME [--plan FILE] [--base FILE] [options]
//!
//! push     whole pushes, one after another, a new connection each: HEAD, POST, PATCH, PUT for the layer
//!          and for the config, PUT of the manifest
//! hold     --clients pushes at once, a repository each; nobody sends a layer before all have a session
//! lookup   what kaniko asks before a step, one step after another, a new connection for each request
//! pull     --clients readers of every image at once; --compare looks at every byte
//! get      --clients readers of one --path for --seconds; bodies under way count by their bytes
//!
//! --plan FILE           images, made by oci_images.py       --clients N    (1)
//! --base FILE           what layers are made of             --count N      images of the plan (all)
//! --authorization TEXT  sent with all but the first request of a lookup
//! --prefix TEXT         before /v2/ in each path            --seconds S    end after so long
//! --absent              lookups of tags nobody pushed       --hello        TLS first, as kaniko tries it
//! --path P --size N     what `get` asks for and its length  --no-digest    no Docker-Content-Digest expected
//! ```
//!
//! The last line of its output is what `oci_measure.py` reads. It ends with code 1 when any answer was not as it must be.

#![allow(clippy::disallowed_methods)] // files here are no entries of a store

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

const PIECE: usize = 256 * 1024;
const STAMP: usize = 16;
const ENOUGH_ERRORS: usize = 20;
const ACCEPT: &str = "Accept: application/vnd.docker.distribution.manifest.v2+json\r\n\
                      Accept: application/vnd.oci.image.manifest.v1+json\r\n";
/// How long kaniko waits for an answer to its TLS hello before it goes on in plain HTTP.
const HELLO: Duration = Duration::from_millis(300);

type Outcome<T> = Result<T, String>;

// ---- arguments ------------------------------------------------------------------

#[derive(Default)]
struct Options {
    mode: String,
    addr: String,
    repo: String,
    plan: String,
    base: String,
    authorization: String,
    prefix: String,
    path: String,
    size: u64,
    clients: usize,
    count: usize,
    seconds: f64,
    absent: bool,
    hello: bool,
    compare: bool,
    no_digest: bool,
}

fn options() -> Outcome<Options> {
    let mut args = std::env::args().skip(1);
    let mut o = Options { mode: args.next().ok_or("which mode?")?, clients: 1, ..Options::default() };
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "--absent" => o.absent = true,
            "--hello" => o.hello = true,
            "--compare" => o.compare = true,
            "--no-digest" => o.no_digest = true,
            _ => {
                let value = args.next().ok_or_else(|| format!("{flag} takes a value"))?;
                let number = || value.parse::<f64>().map_err(|_| format!("{flag} {value}: not a number"));
                match flag.as_str() {
                    "--addr" => o.addr = value,
                    "--repo" => o.repo = value,
                    "--plan" => o.plan = value,
                    "--base" => o.base = value,
                    "--authorization" => o.authorization = value,
                    "--prefix" => o.prefix = value,
                    "--path" => o.path = value,
                    "--size" => o.size = number()? as u64,
                    "--clients" => o.clients = (number()? as usize).max(1),
                    "--count" => o.count = number()? as usize,
                    "--seconds" => o.seconds = number()?,
                    _ => return Err(format!("unknown option {flag}")),
                }
            }
        }
    }
    Ok(o)
}

// ---- images ---------------------------------------------------------------------

/// One line of the plan. The layer is its stamp, then the base over and over.
struct Image {
    tag: String,
    stamp: [u8; STAMP],
    size: u64,
    layer: String,
    config: String,
    config_json: String,
    manifest: String,
    manifest_json: String,
    media_type: String,
}

fn images(path: &str, count: usize) -> Outcome<Vec<Image>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let mut found = Vec::new();
    for line in text.lines().take(if count == 0 { usize::MAX } else { count }) {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[tag, stamp, size, layer, config, config_json, manifest, manifest_json, media_type] = fields.as_slice()
        else {
            return Err(format!("{path}: a line with {} fields", fields.len()));
        };
        found.push(Image {
            tag: tag.into(),
            stamp: stamp.as_bytes().try_into().map_err(|_| format!("{path}: a stamp of {} bytes", stamp.len()))?,
            size: size.parse().map_err(|_| format!("{path}: size {size}"))?,
            layer: layer.into(),
            config: config.into(),
            config_json: config_json.into(),
            manifest: manifest.into(),
            manifest_json: manifest_json.into(),
            media_type: media_type.into(),
        });
    }
    if found.is_empty() { Err(format!("{path}: no images")) } else { Ok(found) }
}

/// What of `base` stands in a layer at `offset`, which is not within the stamp.
fn stretch(base: &[u8], offset: u64, at_most: u64) -> &[u8] {
    let from = (offset % base.len() as u64) as usize;
    let length = ((base.len() - from) as u64).min(at_most) as usize;
    &base[from..from + length]
}

// ---- HTTP -----------------------------------------------------------------------

enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Layer(&'a Image, &'a [u8]),
}

impl Body<'_> {
    fn length(&self) -> u64 {
        match self {
            Body::None => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Layer(image, _) => image.size,
        }
    }
}

struct Head {
    status: u16,
    length: u64,
    location: String,
    digest: String,
    challenge: bool,
}

struct Connection<'a> {
    options: &'a Options,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet used.
    rest: std::ops::Range<usize>,
}

impl<'a> Connection<'a> {
    fn open(options: &'a Options) -> Outcome<Self> {
        let addr: SocketAddr = options.addr.parse().map_err(|_| format!("--addr {}", options.addr))?;
        let stream = TcpStream::connect(addr).map_err(|e| format!("connect: {e}"))?;
        let limit = Some(Duration::from_secs(120));
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(limit))
            .and_then(|()| stream.set_write_timeout(limit))
            .map_err(|e| format!("socket: {e}"))?;
        Ok(Self { options, stream, buffer: vec![0; PIECE], rest: 0..0 })
    }

    /// Sends a request and reads the head of its answer; `known` says whether the password goes along.
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &Body, known: bool) -> Outcome<Head> {
        let mut head = String::with_capacity(1024);
        let _ = write!(head, "{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}", self.options.addr);
        if known && !self.options.authorization.is_empty() {
            let _ = write!(head, "Authorization: {}\r\n", self.options.authorization);
        }
        if matches!(method, "POST" | "PATCH" | "PUT") {
            let _ = write!(head, "Content-Length: {}\r\n", body.length());
        }
        head.push_str("\r\n");
        let what = |e: std::io::Error| format!("{method} {path}: sending: {e}");
        let mut first = head.into_bytes();
        match body {
            Body::None => self.stream.write_all(&first).map_err(what)?,
            Body::Bytes(bytes) => {
                first.extend_from_slice(bytes);
                self.stream.write_all(&first).map_err(what)?;
            }
            Body::Layer(image, base) => {
                let mut offset = image.size.min(STAMP as u64);
                first.extend_from_slice(&image.stamp[..offset as usize]);
                // Head and the first of the body in one piece, as clients with a buffer send them.
                let begin = stretch(base, offset, (image.size - offset).min(4096));
                first.extend_from_slice(begin);
                offset += begin.len() as u64;
                self.stream.write_all(&first).map_err(what)?;
                while offset < image.size {
                    let piece = stretch(base, offset, image.size - offset);
                    self.stream.write_all(piece).map_err(what)?;
                    offset += piece.len() as u64;
                }
            }
        }
        self.head(method == "HEAD").map_err(|e| format!("{method} {path}: {e}"))
    }

    fn fill(&mut self) -> Outcome<usize> {
        let n = self.stream.read(&mut self.buffer[self.rest.end..]).map_err(|e| format!("reading: {e}"))?;
        self.rest.end += n;
        Ok(n)
    }

    fn head(&mut self, no_body: bool) -> Outcome<Head> {
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        let end = loop {
            if let Some(at) = self.buffer[..self.rest.end].windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.rest.end == self.buffer.len() || self.fill()? == 0 {
                return Err("no whole head came back".into());
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.rest.start = end;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let status = status.ok_or("no status came back")?;
        let mut head = Head { status, length: 0, location: String::new(), digest: String::new(), challenge: false };
        for (name, value) in lines.filter_map(|l| l.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().map_err(|_| format!("length {value}"))?,
                "transfer-encoding" => return Err(format!("Transfer-Encoding {value} is not understood")),
                "location" => head.location = value.into(),
                "docker-content-digest" => head.digest = value.into(),
                "www-authenticate" => head.challenge = true,
                _ => {}
            }
        }
        if no_body || matches!(status, 204 | 304) {
            head.length = 0;
        }
        Ok(head)
    }

    /// Reads a body of `length`, piece by piece, until `each` says that it is enough.
    fn body(&mut self, length: u64, mut each: impl FnMut(u64, &[u8]) -> Outcome<bool>) -> Outcome<bool> {
        let mut offset = 0;
        while offset < length {
            if self.rest.is_empty() {
                self.rest = 0..0;
                if self.fill()? == 0 {
                    return Err(format!("cut after {offset} of {length} bytes"));
                }
            }
            let take = ((length - offset) as usize).min(self.rest.len());
            let piece = &self.buffer[self.rest.start..self.rest.start + take];
            if !each(offset, piece)? {
                return Ok(false);
            }
            offset += take as u64;
            self.rest.start += take;
        }
        Ok(true)
    }

    /// A small answer's body, whole.
    fn text(&mut self, head: &Head) -> Outcome<Vec<u8>> {
        let mut all = Vec::new();
        self.body(head.length, |_, piece| {
            all.extend_from_slice(piece);
            Ok(true)
        })?;
        Ok(all)
    }

    /// Asks, reads the whole answer and insists on the status.
    fn expect(
        &mut self,
        status: u16,
        method: &str,
        path: &str,
        headers: &str,
        body: &Body,
    ) -> Outcome<(Head, Vec<u8>)> {
        let head = self.ask(method, path, headers, body, true)?;
        let text = self.text(&head)?;
        if head.status == status {
            return Ok((head, text));
        }
        let said = String::from_utf8_lossy(&text[..text.len().min(200)]).trim().replace('\n', " ");
        Err(format!("{method} {path}: {} instead of {status}: {said}", head.status))
    }
}

/// The path of a Location, which may be absolute.
fn local(location: &str) -> Outcome<String> {
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => location,
    };
    if path.starts_with('/') { Ok(path.into()) } else { Err(format!("no use for Location {location:?}")) }
}

// ---- what clients do ------------------------------------------------------------

fn path(options: &Options, repo: &str, kind: &str, name: &str) -> String {
    format!("{}/v2/{repo}/{kind}/{name}", options.prefix)
}

fn begin_upload(c: &mut Connection, repo: &str) -> Outcome<String> {
    let (head, _) = c.expect(202, "POST", &path(c.options, repo, "blobs", "uploads/"), "", &Body::None)?;
    local(&head.location)
}

fn finish_upload(c: &mut Connection, session: &str, digest: &str, body: &Body) -> Outcome<()> {
    let (head, _) = c.expect(202, "PATCH", session, "Content-Type: application/octet-stream\r\n", body)?;
    let session = local(&head.location)?;
    let more = if session.contains('?') { '&' } else { '?' };
    c.expect(201, "PUT", &format!("{session}{more}digest={digest}"), "", &Body::None)?;
    Ok(())
}

fn push_blob(c: &mut Connection, repo: &str, digest: &str, body: &Body) -> Outcome<()> {
    let known = path(c.options, repo, "blobs", digest);
    match c.ask("HEAD", &known, "", &Body::None, true)?.status {
        404 => {}
        200 => return Err(format!("{digest} is there already: this push would measure nothing")),
        other => return Err(format!("HEAD {known}: {other}")),
    }
    let session = begin_upload(c, repo)?;
    finish_upload(c, &session, digest, body)
}

fn push_manifest(c: &mut Connection, repo: &str, image: &Image) -> Outcome<()> {
    let kind = format!("Content-Type: {}\r\n", image.media_type);
    let to = path(c.options, repo, "manifests", &image.tag);
    c.expect(201, "PUT", &to, &kind, &Body::Bytes(image.manifest_json.as_bytes()))?;
    Ok(())
}

fn push(options: &Options, image: &Image, base: &[u8]) -> Outcome<u64> {
    let mut c = Connection::open(options)?;
    push_blob(&mut c, &options.repo, &image.layer, &Body::Layer(image, base))?;
    push_blob(&mut c, &options.repo, &image.config, &Body::Bytes(image.config_json.as_bytes()))?;
    push_manifest(&mut c, &options.repo, image)?;
    Ok(image.size)
}

/// One of many pushes at once: nobody sends before everybody has a session.
fn hold(options: &Options, image: &Image, base: &[u8], number: usize, all: &Barrier) -> Outcome<u64> {
    let repo = format!("{}/{number:04}", options.repo);
    let begun = Connection::open(options).and_then(|mut c| begin_upload(&mut c, &repo).map(|session| (c, session)));
    all.wait();
    let (mut c, session) = begun?;
    finish_upload(&mut c, &session, &image.layer, &Body::Layer(image, base))?;
    let session = begin_upload(&mut c, &repo)?;
    finish_upload(&mut c, &session, &image.config, &Body::Bytes(image.config_json.as_bytes()))?;
    push_manifest(&mut c, &repo, image)?;
    Ok(image.size)
}

/// Offers TLS on the plain port; whatever the answer, the connection is given up.
fn hello(options: &Options) -> Outcome<()> {
    let mut c = Connection::open(options)?;
    // A record with a ClientHello of TLS 1.2, one suite, no extensions.
    let mut record = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    record.extend_from_slice(&[0x5a; 32]);
    record.extend_from_slice(&[0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let _ = c.stream.set_read_timeout(Some(HELLO));
    c.stream.write_all(&record).map_err(|e| format!("hello: {e}"))?;
    let _ = c.stream.read(&mut [0; 64]); // an end, an answer, or nothing in time
    Ok(())
}

/// Is there an image for this step? Each question on a connection of its own.
fn lookup(options: &Options, image: &Image) -> Outcome<u64> {
    if options.hello {
        hello(options)?;
    }
    let mut c = Connection::open(options)?;
    let head = c.ask("GET", &format!("{}/v2/", options.prefix), "", &Body::None, false)?;
    c.text(&head)?;
    let wanted = if options.authorization.is_empty() { 200 } else { 401 };
    if head.status != wanted || (wanted == 401 && !head.challenge) {
        return Err(format!("GET /v2/: {}, with a challenge: {}", head.status, head.challenge));
    }
    let mut c = Connection::open(options)?;
    if options.absent {
        let tag: String = image.tag.chars().rev().collect();
        c.expect(404, "GET", &path(options, &options.repo, "manifests", &tag), ACCEPT, &Body::None)?;
        return Ok(0);
    }
    let from = path(options, &options.repo, "manifests", &image.tag);
    let (_, manifest) = c.expect(200, "GET", &from, ACCEPT, &Body::None)?;
    let mut c = Connection::open(options)?;
    let from = path(options, &options.repo, "blobs", &image.config);
    let (_, config) = c.expect(200, "GET", &from, "", &Body::None)?;
    if manifest != image.manifest_json.as_bytes() || config != image.config_json.as_bytes() {
        return Err(format!("lookup of {}: other bytes than were pushed", image.tag));
    }
    Ok((manifest.len() + config.len()) as u64)
}

/// A whole image on one connection.
fn pull(options: &Options, image: &Image, base: &[u8]) -> Outcome<u64> {
    let mut c = Connection::open(options)?;
    let mut names = vec![image.tag.as_str()];
    if options.compare {
        names.push(&image.manifest);
    }
    for name in names {
        let (head, text) =
            c.expect(200, "GET", &path(options, &options.repo, "manifests", name), ACCEPT, &Body::None)?;
        if text != image.manifest_json.as_bytes() {
            return Err(format!("manifest {name}: other bytes than were pushed"));
        }
        if !options.no_digest && head.digest != image.manifest {
            return Err(format!("manifest {name}: Docker-Content-Digest {:?}", head.digest));
        }
    }
    let (_, config) = c.expect(200, "GET", &path(options, &options.repo, "blobs", &image.config), "", &Body::None)?;
    if config != image.config_json.as_bytes() {
        return Err(format!("config {}: other bytes than were pushed", image.config));
    }
    let from = path(options, &options.repo, "blobs", &image.layer);
    let head = c.ask("GET", &from, "", &Body::None, true)?;
    if head.status != 200 || head.length != image.size {
        return Err(format!("GET {from}: {} with {} bytes", head.status, head.length));
    }
    c.body(image.size, |offset, piece| {
        if options.compare && !same(image, base, offset, piece) {
            return Err(format!("GET {from}: other bytes than were pushed, from {offset} on"));
        }
        Ok(true)
    })?;
    Ok(image.size)
}

fn same(image: &Image, base: &[u8], mut offset: u64, mut piece: &[u8]) -> bool {
    while !piece.is_empty() {
        let expected = if offset < STAMP as u64 {
            &image.stamp[offset as usize..]
        } else {
            stretch(base, offset, piece.len() as u64)
        };
        let n = expected.len().min(piece.len());
        if piece[..n] != expected[..n] {
            return false;
        }
        offset += n as u64;
        piece = &piece[n..];
    }
    true
}

/// The same path over and over until the end; answers how many bytes of it came.
fn get(options: &Options, all: &Barrier) -> Outcome<u64> {
    let opened = Connection::open(options);
    all.wait();
    let (mut c, end) = (opened?, Instant::now() + Duration::from_secs_f64(options.seconds));
    let mut bytes = 0;
    loop {
        let head = c.ask("GET", &options.path, ACCEPT, &Body::None, true)?;
        if head.status != 200 || head.length != options.size {
            return Err(format!("GET {}: {} with {} bytes", options.path, head.status, head.length));
        }
        let whole = c.body(options.size, |_, piece| {
            bytes += piece.len() as u64;
            Ok(Instant::now() < end)
        })?;
        if !whole || Instant::now() >= end {
            let _ = c.stream.shutdown(Shutdown::Both);
            return Ok(bytes);
        }
    }
}

// ---- the run --------------------------------------------------------------------

/// What came of it all; workers add to it.
#[derive(Default)]
struct Tally {
    bytes: u64,
    micros: Vec<u64>,
    errors: Vec<String>,
}

fn note(tally: &Mutex<Tally>, began: Instant, outcome: Outcome<u64>) -> bool {
    let Ok(mut tally) = tally.lock() else { return false };
    match outcome {
        Ok(bytes) => {
            tally.bytes += bytes;
            tally.micros.push(began.elapsed().as_micros() as u64);
        }
        Err(e) => tally.errors.push(e),
    }
    tally.errors.len() < ENOUGH_ERRORS
}

fn run(options: &Options) -> Outcome<bool> {
    let images = if options.mode == "get" { Vec::new() } else { images(&options.plan, options.count)? };
    let base = if options.base.is_empty() {
        Vec::new()
    } else {
        std::fs::read(&options.base).map_err(|e| format!("{}: {e}", options.base))?
    };
    if base.is_empty() && (matches!(options.mode.as_str(), "push" | "hold") || options.compare) {
        return Err("--base is needed for this".into());
    }
    let (tally, all) = (Mutex::new(Tally::default()), Barrier::new(options.clients));
    let began = Instant::now();
    let over = || options.seconds > 0.0 && began.elapsed().as_secs_f64() >= options.seconds;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..options.clients {
            let (tally, all, images, base, next, over) = (&tally, &all, &images, &base, &next, &over);
            scope.spawn(move || match options.mode.as_str() {
                "push" => {
                    while let Some(image) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let began = Instant::now();
                        if !note(tally, began, push(options, image, base)) || over() {
                            break;
                        }
                    }
                }
                "hold" => {
                    let image = &images[number % images.len()];
                    note(tally, Instant::now(), hold(options, image, base, number, all));
                }
                "lookup" => loop {
                    for image in images {
                        let began = Instant::now();
                        if !note(tally, began, lookup(options, image)) {
                            return;
                        }
                    }
                    if options.seconds == 0.0 || over() {
                        return;
                    }
                },
                "get" => {
                    note(tally, Instant::now(), get(options, all));
                }
                _ => {
                    all.wait();
                    for image in images {
                        let began = Instant::now();
                        if !note(tally, began, pull(options, image, base)) {
                            return;
                        }
                    }
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut tally = tally.into_inner().map_err(|_| "a worker panicked")?;
    tally.micros.sort_unstable();
    let at = |share: f64| {
        let last = tally.micros.len().saturating_sub(1);
        tally.micros.get((share * last as f64).round() as usize).copied().unwrap_or(0)
    };
    let requests = match options.mode.as_str() {
        "get" => tally.bytes as f64 / options.size.max(1) as f64,
        _ => tally.micros.len() as f64,
    };
    for error in tally.errors.iter().take(5) {
        let _ = writeln!(std::io::stderr(), "oci_load: {error}");
    }
    let _ = writeln!(
        std::io::stdout(),
        "PEERS requests={requests:.3} seconds={seconds:.6} bytes={} errors={} p50_us={} p99_us={} slowest_us={}",
        tally.bytes,
        tally.errors.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(tally.errors.is_empty())
}

fn main() -> ExitCode {
    let done = options().and_then(|o| match o.mode.as_str() {
        "push" | "hold" | "lookup" | "pull" | "get" => run(&o),
        other => Err(format!("no such mode: {other}")),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "oci_load: {e}");
            ExitCode::from(64)
        }
    }
}
