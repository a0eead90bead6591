//! `larder serve`: starts a node and keeps it until it is told to go.

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Options, check, print, snippets};
use crate::app::{App, Stop, open_store};
use crate::config::Config;
use crate::{serve, telemetry};

/// Threads for file operations that may wait for a disk. More would cost memory and gain nothing.
const BLOCKING_THREADS: usize = 16;

/// Loads, opens, listens, serves.
pub fn run(options: Options) -> Result<(), Failure> {
    // Everything that a configuration can get wrong is found before the port and the directory are touched.
    let (config, warnings) = check::load(options)?;
    telemetry::init(&config.log).map_err(Failure::usage)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|e| Failure::other(format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(start(config));
    // A disk that hangs must not keep the process: what was acknowledged is written.
    runtime.shutdown_background();
    outcome
}

async fn start(config: Config) -> Result<(), Failure> {
    let stop = stop_signal().map_err(|e| Failure::other(format!("cannot watch signals: {e}")))?;
    let address = config.server.listen;
    // The port first: a second node on the same port must not touch the directory.
    let listener = serve::listen(address).map_err(|e| {
        Failure::other(format!("cannot listen on {address}: {e}; choose another address with --listen"))
    })?;
    let opened = open_store(&config).await.map_err(Failure::other)?;
    let address = listener.local_addr().unwrap_or(address);
    let banner = snippets::banner(&config, address);
    let app = App::new(config, opened, |name| std::env::var(name).ok()).map_err(Failure::usage)?;
    print(&banner);
    tracing::info!("listening on {address}");
    app.run(listener, stop).await;
    Ok(())
}

/// Resolves at SIGTERM or Ctrl-C.
fn stop_signal() -> std::io::Result<impl Future<Output = Stop> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Stop::Leave,
            _ = interrupt.recv() => Stop::Now,
        }
    })
}

/// A connection is a descriptor, and the soft limit is often 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
