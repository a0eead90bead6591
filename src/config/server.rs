//! `[server]`: listening, connections, shutdown.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::units::{Period, Size};

/// How the node meets its clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long a request's head may take.
    pub header_timeout: Period,
    /// How long a peer may move no byte while a request is under way.
    pub idle_timeout: Period,
    /// How long a connection may rest between two requests; announced as `Keep-Alive: timeout`. Gradle keeps one for
    /// three minutes and fails a store on one that was closed under it.
    pub keep_alive: Period,
    /// How much of a refused body is read before the answer is sent; beyond, the connection is closed.
    pub max_drain: Size,
    /// After SIGTERM: how long the node still accepts while it reports not to be ready.
    pub drain_accept: Period,
    /// After SIGTERM: when the node ends at the latest.
    pub drain_total: Period,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5071)),
            max_connections: 4096,
            header_timeout: Period::secs(15),
            idle_timeout: Period::secs(60),
            keep_alive: Period::secs(300),
            max_drain: Size::mib(1024),
            drain_accept: Period::secs(5),
            drain_total: Period::secs(25),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{text}` is not an address and a port; write 127.0.0.1:5071, or 0.0.0.0:5071 for all"
        ))
    })
}

impl ServerConfig {
    /// Whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if !(1..=1_000_000).contains(&self.max_connections) {
            return Err("server.max_connections: between 1 and 1000000".into());
        }
        let times = [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("keep_alive", self.keep_alive),
            ("drain_total", self.drain_total),
        ];
        if let Some((name, _)) = times.iter().find(|(_, period)| period.0.as_millis() < 100) {
            return Err(format!("server.{name}: less than 100ms would cut every client"));
        }
        if self.drain_accept > self.drain_total {
            return Err("server.drain_accept: must not be longer than server.drain_total".into());
        }
        Ok(())
    }
}
