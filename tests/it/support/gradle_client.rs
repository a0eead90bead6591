//! A model of Gradle's HTTP build cache: it sends what Gradle sends, and reads answers as Gradle reads them.
//!
//! Only 200 is a hit, only 404 a miss, any 2xx a store that went well; whatever else happens switches the remote cache
//! off for the rest of the build. An empty or encoded body, or one without a length, fails newer builds outright.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use super::entry::{entry, noise, unpacks};
use super::http::{Answer, Connection, basic};

/// Gradle's pool: at most 20 connections, each for at most three minutes.
const MOST_CONNECTIONS: usize = 20;
const LONGEST_LIFE: Duration = Duration::from_secs(180);
/// How long a client that expects a `100` waits for it before it sends the body anyway.
const EXPECT_STALL: Duration = Duration::from_secs(3);
const MEDIA_TYPE: &str = "application/vnd.gradle.build-cache-artifact.v2";

/// The client of one build.
pub struct GradleClient {
    address: SocketAddr,
    version: &'static str,
    /// What follows `/cache/`, a namespace with its slash or nothing.
    namespace: &'static str,
    user: &'static str,
    expect_continue: bool,
    places: Semaphore,
    resting: Mutex<Vec<Resting>>,
    seen: Mutex<Seen>,
}

/// What a build saw of its cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub hits: usize,
    pub misses: usize,
    pub stores: usize,
    pub connections: usize,
    /// Times the client did not get its `100` and sent the body after the stall.
    pub stalls: usize,
    /// Why the remote cache was switched off.
    pub disabled: Option<String>,
    /// Why the build failed.
    pub failed: Option<String>,
}

struct Resting {
    connection: Connection,
    born: Instant,
    until: Instant,
}

impl GradleClient {
    pub fn new(address: SocketAddr, version: &'static str) -> Self {
        Self {
            address,
            version,
            namespace: "",
            user: "ci",
            expect_continue: false,
            places: Semaphore::new(MOST_CONNECTIONS),
            resting: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// The same client with another user's credentials.
    pub fn of(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    /// The same client with a namespace in its URL, such as `team-a/`.
    pub fn within(self, namespace: &'static str) -> Self {
        Self { namespace, ..self }
    }

    /// The same client with `useExpectContinue = true`.
    pub fn that_asks(self) -> Self {
        Self { expect_continue: true, ..self }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Looks an entry up; `None` is a miss.
    pub async fn load(&self, key: &str) -> Option<Vec<u8>> {
        let head = self.head("GET", key, &format!("Accept: {MEDIA_TYPE}, */*\r\n"));
        let answer = self.exchange("GET", head, None).await?;
        match answer.status {
            200 if answer.header("content-encoding").is_some() => self.fail("an encoded body"),
            200 if answer.body.is_empty() => self.fail("an empty body"),
            200 if !unpacks(&answer.body) => self.fail("a body that does not unpack"),
            200 => {
                self.count(|seen| seen.hits += 1);
                return Some(answer.body);
            }
            404 => self.count(|seen| seen.misses += 1),
            status => self.disable(format!("{status} to a lookup")),
        }
        None
    }

    /// Stores an entry.
    pub async fn store(&self, key: &str, body: &[u8]) {
        let expect = if self.expect_continue { "Expect: 100-continue\r\n" } else { "" };
        let own = format!("{expect}Content-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\n", body.len());
        let head = self.head("PUT", key, &own);
        let Some(answer) = self.exchange("PUT", head, Some(body)).await else { return };
        match answer.status {
            200..300 => self.count(|seen| seen.stores += 1),
            status => self.disable(format!("{status} to a store")),
        }
    }

    fn head(&self, method: &str, key: &str, own: &str) -> String {
        let Self { address, version, namespace, user, .. } = self;
        format!(
            "{method} /cache/{namespace}{key} HTTP/1.1\r\nX-Gradle-Version: {version}\r\n{own}Host: {address}\r\n\
             Connection: Keep-Alive\r\nUser-Agent: Gradle/{version} (Linux;6.1.0-25-amd64;amd64) \
             (Debian;17.0.12;17.0.12+7-Debian-2deb12u1)\r\nAccept-Encoding: gzip,deflate\r\nAuthorization: {}\r\n\r\n",
            basic(user, "pw")
        )
    }

    /// One request on a connection of the pool; `None` when the cache is off, also by this very request.
    async fn exchange(&self, method: &str, head: String, body: Option<&[u8]>) -> Option<Answer> {
        let _place = self.places.acquire().await.unwrap();
        if self.seen().disabled.is_some() {
            return None;
        }
        let (mut connection, born) = match self.lease() {
            Some(resting) => (resting.connection, resting.born),
            None => match Connection::try_open(self.address).await {
                Some(connection) => {
                    self.count(|seen| seen.connections += 1);
                    (connection, Instant::now())
                }
                None => return self.dropped("could not connect"),
            },
        };
        if connection.stream.write_all(head.as_bytes()).await.is_err() {
            return self.dropped("a head could not be sent");
        }
        if let Some(body) = body {
            if self.expect_continue {
                match tokio::time::timeout(EXPECT_STALL, connection.try_answer_head()).await {
                    Ok(Some(answer)) if answer.status == 100 => {}
                    // Refused before the body: it is not sent, and the connection cannot be used any more.
                    Ok(Some(answer)) => return Some(answer),
                    Ok(None) => return self.dropped("closed instead of 100"),
                    Err(_) => self.count(|seen| seen.stalls += 1),
                }
            }
            if connection.stream.write_all(body).await.is_err() {
                return self.dropped("a body could not be sent");
            }
        }
        let Some(answer) = connection.try_answer(method).await else { return self.dropped("no whole answer") };
        self.rest(connection, born, &answer);
        Some(answer)
    }

    fn lease(&self) -> Option<Resting> {
        let now = Instant::now();
        let mut resting = self.resting.lock().unwrap();
        resting.retain(|r| r.until > now && r.born + LONGEST_LIFE > now);
        resting.pop()
    }

    /// Keeps a connection for the next request, for as long as the node said.
    fn rest(&self, connection: Connection, born: Instant, answer: &Answer) {
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return;
        }
        let announced = answer.header("keep-alive").and_then(|value| value.strip_prefix("timeout=")?.parse().ok());
        let until = Instant::now() + announced.map_or(LONGEST_LIFE, Duration::from_secs);
        self.resting.lock().unwrap().push(Resting { connection, born, until });
    }

    fn count(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
    }

    fn dropped(&self, how: &str) -> Option<Answer> {
        self.disable(how.to_owned());
        None
    }

    fn disable(&self, why: String) {
        self.count(|seen| seen.disabled = seen.disabled.take().or(Some(why)));
    }

    fn fail(&self, why: &str) {
        self.count(|seen| seen.failed = seen.failed.take().or_else(|| Some(why.to_owned())));
    }
}

/// The tasks of a build: keys, and the entries that running them makes.
pub struct Plan {
    pub tasks: Vec<(String, Vec<u8>)>,
}

impl Plan {
    /// Tasks with the sizes that were found in the field: a third under 0.5 KB, a tail of megabytes.
    pub fn mix(seed: u64, tasks: usize) -> Arc<Self> {
        let size = |i: usize| match (i * 617 + 13) % 1000 {
            0..350 => 150,
            350..600 => 200 + i * 31 % 500,
            600..800 => 1024 + i * 97 % (15 << 10),
            800..920 => (16 << 10) + i * 1009 % (112 << 10),
            920..980 => (128 << 10) + i * 10_007 % (896 << 10),
            980..997 => (1 << 20) + i * 100_003 % (9 << 20),
            _ => 12 << 20,
        };
        let task = |i: usize| {
            let id = seed << 32 | i as u64;
            let key = format!("{:016x}{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15), id);
            (key, entry(&format!(":module{i}:compileJava"), 100 + i as u64, &noise(id, size(i))))
        };
        Arc::new(Self { tasks: (0..tasks).map(task).collect() })
    }

    /// The same mix without what is above 60 KB.
    pub fn mix_of_small(seed: u64, tasks: usize) -> Arc<Self> {
        let all = Self::mix(seed, tasks).tasks.clone();
        Arc::new(Self { tasks: all.into_iter().filter(|(_, entry)| entry.len() <= 60_000).collect() })
    }
}

/// A build: each task is looked up, and stored where it was not found. Panics when what came is not what was stored.
pub async fn build(client: &Arc<GradleClient>, plan: &Arc<Plan>) -> Seen {
    let before = client.seen();
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..MOST_CONNECTIONS)
        .map(|_| {
            let (client, plan, next) = (Arc::clone(client), Arc::clone(plan), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some((key, entry)) = plan.tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match client.load(key).await {
                        Some(body) => assert!(body == *entry, "{key} came back with other bytes"),
                        None => client.store(key, entry).await,
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let after = client.seen();
    Seen {
        hits: after.hits - before.hits,
        misses: after.misses - before.misses,
        stores: after.stores - before.stores,
        ..after
    }
}

/// A build by a fresh client of this version, which must not notice anything.
pub async fn unhurt_build(address: SocketAddr, plan: &Arc<Plan>) -> Seen {
    unhurt(&Arc::new(GradleClient::new(address, "8.10")), plan).await
}

/// A build that must neither lose its cache nor fail.
pub async fn unhurt(client: &Arc<GradleClient>, plan: &Arc<Plan>) -> Seen {
    let seen = build(client, plan).await;
    assert_eq!((&seen.disabled, &seen.failed), (&None, &None), "the build was hurt: {seen:?}");
    assert_eq!(seen.hits + seen.misses, plan.tasks.len(), "every task was looked up");
    assert_eq!(seen.stores, seen.misses, "every store of a miss went well");
    seen
}
