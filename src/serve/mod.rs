//! Sockets: accepting, limits of a connection, and how a node leaves.

mod connection;
mod watchdog;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;

/// The limits of connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub max_connections: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a peer may move no byte while a request is under way.
    pub idle_timeout: Duration,
    /// How long a connection may rest between two requests; announced to clients.
    pub keep_alive: Duration,
}

/// What a node is doing, from start to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Still accepting and serving, but every answer asks the client to come back on another connection.
    Leaving,
    /// Not accepting; connections end with the request they are in.
    Closing,
}

/// What answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers one request from this address.
    fn call(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

/// Backlog of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on an address.
///
/// # Errors
/// The system's, most often that the port is in use.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A node that is started again must not wait for the last one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts and serves until the phase is [`Phase::Closing`], then waits for the connections to end. Dropping the
/// future cuts those that are left.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: H,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
    metrics: Arc<Metrics>,
) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
    let shared = Arc::new(connection::Shared::new(handler, limits, phase.clone(), Arc::clone(&metrics)));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &places, &metrics) => accepted,
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => break,
        };
        let (place, stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, or the client is gone already: neither is a reason to end.
                tracing::warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _place = place;
            connection::run(shared, stream, peer).await;
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // Every place is free again when every connection has ended.
    let _ = places.acquire_many(all).await;
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    metrics: &Metrics,
) -> io::Result<(tokio::sync::OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let place = match Arc::clone(places).try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            metrics.connections_full.inc();
            tracing::debug!("server.max_connections are open: new ones wait");
            Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let (stream, peer) = listener.accept().await?;
    Ok((place, stream, peer))
}
