//! Upload sessions against a model: whatever clients do, in whatever order, with a restart in between, statuses and
//! bytes are those of the model.

use larder::app::Stop;
use tokio::io::AsyncWriteExt as _;

use crate::support::entry::noise;
use crate::support::registry_client::{RegistryClient, at, content_range, has_taken, range_of, sha256, sha512, told};
use crate::support::{MIB, TestNode};

const CONFIG: &str = "[server]\ndrain_accept = \"0s\"\ndrain_total = \"300ms\"\n[store]\nfsync = \"never\"";
const WALKS: u64 = 16;
const STEPS: usize = 30;
const SIZES: [usize; 6] = [0, 1, 1000, 70_000, 600_000, MIB + 7];

/// What a session should be.
#[derive(Debug, Clone, PartialEq)]
enum State {
    Open,
    /// Finished with this digest.
    Closed(String),
    Cancelled,
}

/// A small generator: the same walk for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

struct Walk {
    dice: Dice,
    client: RegistryClient,
    session: String,
    bytes: Vec<u8>,
    state: State,
    trace: Vec<String>,
}

impl Walk {
    fn piece(&mut self) -> Vec<u8> {
        let size = SIZES[self.dice.roll(SIZES.len())];
        noise(self.dice.roll(1 << 20) as u64, size)
    }

    fn digest(&mut self, bytes: &[u8]) -> String {
        if self.dice.roll(4) == 0 { sha512(bytes) } else { sha256(bytes) }
    }

    fn check(&self, what: &str, found: &(u16, String), open: (u16, &str)) {
        let over = (404, "BLOB_UPLOAD_UNKNOWN");
        let (status, code) = if self.state == State::Open { open } else { over };
        assert_eq!((found.0, found.1.as_str()), (status, code), "{what} in {:?}; {:#?}", self.state, self.trace);
    }

    async fn step(&mut self) {
        let kind = self.dice.roll(12);
        let len = self.bytes.len();
        match kind {
            // The next bytes, however they are framed.
            0..=3 => {
                let piece = self.piece();
                let framing = self.dice.roll(3);
                self.trace.push(format!("{len}: PATCH {} bytes, framing {framing}", piece.len()));
                let answer = match framing {
                    0 if !piece.is_empty() => self.client.patch(&self.session, Some(len), &piece).await,
                    1 => self.client.send_chunked("PATCH", &self.session, &[], &piece, 40_000).await,
                    _ => self.client.patch(&self.session, None, &piece).await,
                };
                self.check("the next bytes", &told(&answer), (202, ""));
                if self.state == State::Open {
                    self.bytes.extend_from_slice(&piece);
                    assert!(has_taken(&answer, self.bytes.len()), "{:#?}", self.trace);
                }
            }
            // From the wrong place.
            4 => {
                let piece = noise(1, 5000);
                let wrong = [len + 1, len + 5000, len.saturating_sub(1), 0][self.dice.roll(4)];
                let wrong = if wrong == len { len + 7 } else { wrong };
                self.trace.push(format!("{len}: PATCH from {wrong}"));
                let answer = self.client.patch(&self.session, Some(wrong), &piece).await;
                self.check("from the wrong place", &told(&answer), (416, "BLOB_UPLOAD_INVALID"));
                assert!(self.state != State::Open || at(&answer) == range_of(len), "{:#?}", self.trace);
            }
            // Another length than its range says.
            5 => {
                self.trace.push(format!("{len}: PATCH that lies"));
                let range = content_range(len, 4999);
                let headers = [("Content-Range", range.as_str())];
                let body = noise(2, 5000);
                let answer = if self.dice.roll(2) == 0 {
                    self.client.send("PATCH", &self.session, &headers, &body).await
                } else {
                    self.client.send_chunked("PATCH", &self.session, &headers, &body, 999).await
                };
                let found = told(&answer);
                // The length is looked at before the session.
                assert!(found.0 == 400 || self.state != State::Open, "{found:?} {:#?}", self.trace);
            }
            // Broken off.
            6 => {
                let piece = self.piece();
                self.trace.push(format!("{len}: PATCH of {} bytes and more that breaks off", piece.len()));
                let mut other = self.client.within("team/app").await;
                other.begin("PATCH", &self.session, &[], Some(piece.len() + 1)).await;
                let _ = other.connection.stream.write_all(&piece).await;
            }
            // Another digest.
            7 => {
                let wrong = self.digest(b"something else");
                let body = if self.dice.roll(2) == 0 { noise(3, 3000) } else { Vec::new() };
                self.trace.push(format!("{len}: PUT {} bytes with a wrong digest", body.len()));
                let answer = self.client.put(&self.session, &wrong, &body).await;
                self.check("a wrong digest", &told(&answer), (400, "DIGEST_INVALID"));
            }
            8 => {
                let answer = self.client.get(&self.session).await;
                self.trace.push(format!("{len}: status {}", answer.status));
                self.check("its status", &told(&answer), (204, ""));
                assert!(self.state != State::Open || at(&answer) == range_of(len), "{:#?}", self.trace);
            }
            9 if self.dice.roll(4) == 0 => {
                let answer = self.client.delete(&self.session).await;
                self.trace.push(format!("{len}: DELETE {}", answer.status));
                self.check("giving up", &told(&answer), (204, ""));
                if self.state == State::Open {
                    self.state = State::Cancelled;
                }
            }
            _ => self.finish().await,
        }
    }

    /// The right digest, with or without the last bytes; again where it is finished already.
    async fn finish(&mut self) {
        if let State::Closed(digest) = self.state.clone() {
            let answer = self.client.put(&self.session, &digest, b"").await;
            self.trace.push(format!("PUT again: {}", answer.status));
            assert_eq!(answer.status, 201, "{:#?}", self.trace);
            return self.is_pulled(&digest).await;
        }
        // An upload that had nothing before its PUT is not remembered; that is another test's matter.
        if self.bytes.is_empty() || self.dice.roll(3) > 0 {
            return;
        }
        let last = if self.dice.roll(2) == 0 { self.piece() } else { Vec::new() };
        let whole = [self.bytes.as_slice(), &last].concat();
        let digest = self.digest(&whole);
        let answer = self.client.put(&self.session, &digest, &last).await;
        self.trace.push(format!("{}: PUT {} bytes: {}", self.bytes.len(), last.len(), answer.status));
        self.check("the right digest", &told(&answer), (201, ""));
        if self.state == State::Open {
            self.bytes = whole;
            self.state = State::Closed(digest.clone());
            self.is_pulled(&digest).await;
        }
    }

    async fn is_pulled(&mut self, digest: &str) {
        let answer = self.client.get(&format!("blobs/{digest}")).await;
        assert!(answer.status == 200 && answer.body == self.bytes, "{} {:#?}", answer.status, self.trace);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_what_the_model_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = TestNode::over(dir.path(), CONFIG).await;
    let mut walks = Vec::new();
    for seed in 0..WALKS {
        let mut client = RegistryClient::ci(&node, "team/app").await;
        let session = client.session().await;
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        walks.push(Walk { dice, client, session, bytes: Vec::new(), state: State::Open, trace: Vec::new() });
    }
    for step in 1..=STEPS {
        futures_util::future::join_all(walks.iter_mut().map(Walk::step)).await;
        if step % 8 == 0 {
            node.stop(Stop::Now).await;
            node = TestNode::over(dir.path(), CONFIG).await;
            for walk in &mut walks {
                walk.trace.push("a restart".into());
                walk.client = RegistryClient::ci(&node, "team/app").await;
            }
        }
    }
    let closed = walks.iter().filter(|walk| matches!(walk.state, State::Closed(_))).count();
    assert!(closed > WALKS as usize / 3, "{closed} of {WALKS} were finished");
    for walk in &mut walks {
        if let State::Closed(digest) = walk.state.clone() {
            walk.is_pulled(&digest).await;
        }
    }
    assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0);
    assert_eq!(node.metric("larder_panics_total").await, 0.0);
}
