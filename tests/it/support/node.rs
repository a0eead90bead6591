//! A whole node in this process, on a port of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::app::{App, Stop, open_store};
use larder::config::{Config, Sources, load};
use larder::store::Opened;
use larder::store::faults::{FaultyStore, Switches};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Connection;

/// A node with user `ci` (password `pw`, read-write everywhere), `reader` (read) and `boss` (admin), and switches
/// before its store. Give it up with [`TestNode::stop`] to wait for its end.
pub struct TestNode {
    pub address: SocketAddr,
    pub faults: Arc<Switches>,
    data: PathBuf,
    stop: Option<oneshot::Sender<Stop>>,
    ended: Option<JoinHandle<()>>,
    _dir: Option<tempfile::TempDir>,
}

/// A user with password `pw`, in TOML.
pub fn user(name: &str, grants: &[&str]) -> String {
    format!("[[auth.user]]\nname = {name:?}\npassword = \"pw\"\ngrants = {grants:?}\n")
}

fn users() -> String {
    [("ci", "read-write"), ("reader", "read"), ("boss", "admin")]
        .map(|(name, access)| user(name, &[&format!("gradle:**={access}"), &format!("oci:**={access}")]))
        .concat()
}

impl TestNode {
    /// A node over a fresh directory.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// A node with more configuration, in TOML; `[[auth.user]]` are there already.
    pub async fn with(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Self::over(dir.path(), toml).await;
        node._dir = Some(dir);
        node
    }

    /// A node over a directory that outlives it.
    pub async fn over(data: &Path, toml: &str) -> Self {
        Self::configured(data, &format!("{toml}\n{}", users())).await
    }

    /// A node with exactly this configuration.
    pub async fn configured(data: &Path, toml: &str) -> Self {
        let config = config(data, toml);
        let listener = larder::serve::listen(config.server.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let Opened { store, usage, secret } = open(&config).await;
        let faults = Arc::new(Switches::default());
        let store = Arc::new(FaultyStore::new(store, Arc::clone(&faults)));
        let app = App::new(config, Opened { store, usage, secret }, |_| None).unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(app.run(listener, async move { stopped.await.unwrap_or(Stop::Now) }));
        let data = data.to_owned();
        Self { address, faults, data, stop: Some(stop), ended: Some(ended), _dir: None }
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A fresh connection.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Tells it to go and waits until it is gone.
    pub async fn stop(mut self, how: Stop) {
        self.tell(how);
        self.ended().await;
    }

    /// Tells it to go.
    pub fn tell(&mut self, how: Stop) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(how);
        }
    }

    /// Waits until it is gone.
    pub async fn ended(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.await.unwrap();
        }
    }

    /// The value of a metric, by its name with labels; 0 when it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.connect().await.send("GET", "/metrics", &[], b"").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// Opens the store. A node that was stopped gives its directory up when the last task that it left behind ends.
async fn open(config: &Config) -> Opened {
    let until = tokio::time::Instant::now() + super::PATIENCE;
    loop {
        match open_store(config).await {
            Err(e) if e.contains("in use") && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

fn config(data: &Path, toml: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("larder.toml");
    std::fs::write(&file, toml).unwrap();
    let sources = Sources {
        file: Some(file),
        listen: Some("127.0.0.1:0".into()),
        data: Some(data.to_owned()),
        environment: Vec::new(),
    };
    load(&sources).unwrap().0
}
