//! What the tests work with: a node on a port of its own, clients that show every byte, and the files of a node.

pub mod disk;
pub mod entry;
pub mod gradle_client;
pub mod http;
pub mod kaniko;
pub mod node;
pub mod program;
pub mod registry_client;

use std::time::Duration;

pub use http::{Answer, Connection};
pub use node::TestNode;

/// More time than anything that works takes, and less than anybody waits.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const MIB: usize = 1 << 20;

/// Waits until `holds` gives true; panics when it takes too long.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
