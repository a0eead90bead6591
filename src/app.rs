//! The composition root: from a configuration to a node that serves. The only place that knows every part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::auth::Auth;
use crate::cache::{Cache, Settings};
use crate::config::{Config, Fsync};
use crate::metrics::Metrics;
use crate::model::seal::Sealer;
use crate::registry::{self, Registry};
use crate::serve::{self, Handler, Limits, Phase};
use crate::store::usage::{self, Usage};
use crate::store::{Durability, Location, Opened, Store, StoreError};
use crate::web;

/// How often figures are taken from the file system.
const OBSERVE_EVERY: Duration = Duration::from_secs(10);

/// A node that is put together but does not listen yet.
pub struct App {
    node: Arc<web::Node>,
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    usage: Arc<Usage>,
    config: Config,
}

/// What ends a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: others have to notice first that this node is going.
    Leave,
    /// Ctrl-C: somebody is waiting at a terminal.
    Now,
}

/// Opens the store that a configuration names.
///
/// # Errors
/// One line that says what to do.
pub async fn open_store(config: &Config) -> Result<Opened, String> {
    let location = Location::parse(&config.store.url).map_err(|e| format!("store.url: {e}"))?;
    crate::store::open(&location).await
}

impl App {
    /// Puts a node together over an opened store. Nothing is half started after an error.
    ///
    /// # Errors
    /// One line that names what to change.
    pub fn new(config: Config, opened: Opened, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let auth = Auth::new(&config.auth, config.anonymous(), Sealer::new(&opened.secret), environment)?;
        let metrics = Arc::new(Metrics::new().map_err(|e| format!("metrics: {e}"))?);
        metrics.observe_start();
        let settings = Settings {
            hot_bytes: config.memory.hot.as_usize(),
            transfer_bytes: config.memory.transfers.as_usize(),
            lookup_deadline: config.store.lookup_deadline.0,
            read_deadline: config.store.read_deadline.0,
            write_deadline: config.store.write_deadline.0,
        };
        let synced_if = |synced| if synced { Durability::Synced } else { Durability::Process };
        let Opened { store, usage, secret } = opened;
        let cache = Cache::new(Arc::clone(&store), settings, Arc::clone(&metrics));
        let oci = registry::Settings {
            refresh: config.oci.refresh.0,
            slack: config.oci.slack.0,
            hold_on: config.oci.hold_on.0,
            max_blob: config.oci.max_blob.0,
            max_children: config.oci.max_children,
            max_depth: config.oci.max_depth,
            max_reach: config.oci.max_reach,
            durability: synced_if(config.store.fsync != Fsync::Never),
        };
        let registry = Registry::new(Arc::clone(&cache), oci, &secret, metrics.oci_renewals.clone());
        let node = web::Node::new(web::Parts {
            cache,
            registry,
            oci: config.oci.clone(),
            auth,
            metrics: Arc::clone(&metrics),
            durability: synced_if(config.store.fsync == Fsync::Always),
            usage: Arc::clone(&usage),
            gradle: config.gradle.clone(),
            max_drain: config.server.max_drain,
        });
        Ok(Self { node, metrics, store, usage, config })
    }

    /// What answers its requests, for those who bring their own sockets.
    pub fn service(&self) -> web::Service {
        web::Service::new(Arc::clone(&self.node))
    }

    /// Serves until `stop` resolves and the last request is answered, or until the time for leaving is over.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = Stop> + Send) {
        let server = &self.config.server;
        let limits = Limits {
            max_connections: server.max_connections,
            header_timeout: server.header_timeout.0,
            idle_timeout: server.idle_timeout.0,
            keep_alive: server.keep_alive.0,
        };
        // Ends with this function, however it ends.
        let mut housekeeping = tokio::task::JoinSet::new();
        housekeeping.spawn(keep_house(
            Arc::clone(&self.store),
            Arc::clone(&self.usage),
            Arc::clone(&self.metrics),
            self.config.store.usage_interval.0,
        ));
        let (phase, phases) = watch::channel(Phase::Running);
        let service = Service(self.service());
        let serving = serve::serve(listener, service, limits, phases, Arc::clone(&self.metrics));
        let leaving = async {
            let stop = stop.await;
            self.node.set_unready();
            phase.send_replace(Phase::Leaving);
            let accepting = if stop == Stop::Leave { server.drain_accept.0 } else { Duration::ZERO };
            tracing::info!("stopping: not ready any more, gone in at most {}", server.drain_total);
            tokio::time::sleep(accepting).await;
            phase.send_replace(Phase::Closing);
            tokio::time::sleep(server.drain_total.0.saturating_sub(accepting)).await;
            tracing::warn!("requests that were still under way are cut");
        };
        tokio::select! {
            () = serving => {}
            () = leaving => {}
        }
        housekeeping.abort_all();
        save_usage(self.store.as_ref(), &self.usage, true).await;
        tracing::info!("stopped");
    }
}

#[derive(Clone)]
struct Service(web::Service);

impl Handler for Service {
    type Body = web::Body;

    fn call(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static {
        let service = self.0.clone();
        async move { service.call(request, peer).await }
    }
}

/// What runs beside the traffic: the count of what is stored, and the figures of the file system.
async fn keep_house(store: Arc<dyn Store>, usage: Arc<Usage>, metrics: Arc<Metrics>, save_every: Duration) {
    while let Err(e) = usage::restore(store.as_ref(), &usage).await {
        tracing::warn!(error = %e, "how full the store is cannot be read yet; trying again");
        tokio::time::sleep(OBSERVE_EVERY).await;
    }
    let mut last_save = tokio::time::Instant::now();
    loop {
        if let Some(figures) = usage.figures() {
            metrics.store_bytes.set(i64::try_from(figures.bytes).unwrap_or(i64::MAX));
            metrics.store_objects.set(i64::try_from(figures.objects).unwrap_or(i64::MAX));
        }
        if let Ok(Some(space)) = store.space().await {
            metrics.store_free_bytes.set(i64::try_from(space.free).unwrap_or(i64::MAX));
        }
        tokio::time::sleep(OBSERVE_EVERY.min(save_every)).await;
        if last_save.elapsed() >= save_every {
            last_save = tokio::time::Instant::now();
            save_usage(store.as_ref(), &usage, false).await;
        }
    }
}

async fn save_usage(store: &dyn Store, usage: &Usage, clean: bool) {
    match tokio::time::timeout(Duration::from_secs(5), usage::save(store, usage, clean)).await {
        // On a full disk the count is the least of the problems; of one that hangs everybody has heard.
        Ok(Ok(()) | Err(StoreError::NoSpace)) | Err(_) => {}
        Ok(Err(e)) => tracing::warn!(error = %e, "the count of what is stored could not be written down"),
    }
}
