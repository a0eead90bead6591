//! A node whose store misbehaves, for the end-to-end tests: `FAULTS=read=hang,write=error` beside larder's own
//! configuration. SIGUSR1 turns the faults on and off; they are on at start.

use std::sync::Arc;

use larder::app::{App, Stop, open_store};
use larder::config::{Sources, load};
use larder::store::Opened;
use larder::store::faults::{Fault, FaultyStore, Switches};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let mut sources = Sources { environment: std::env::vars().collect(), ..Sources::default() };
    while let (Some(flag), value) = (args.next(), args.next()) {
        match flag.as_str() {
            "--config" => sources.file = value.map(Into::into),
            "--listen" => sources.listen = value,
            "--data" => sources.data = value.map(Into::into),
            other => return Err(format!("unknown flag {other}")),
        }
    }
    let (config, _) = load(&sources)?;
    larder::telemetry::init(&config.log)?;
    let listener = larder::serve::listen(config.server.listen).map_err(|e| e.to_string())?;
    let Opened { store, usage, secret } = open_store(&config).await?;
    let switches = Arc::new(Switches::default());
    set(&switches, true)?;
    let store = Arc::new(FaultyStore::new(store, Arc::clone(&switches)));
    let app = App::new(config, Opened { store, usage, secret }, |name| std::env::var(name).ok())?;
    let mut toggle = signal(SignalKind::user_defined1()).map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        let mut on = true;
        while toggle.recv().await.is_some() {
            on = !on;
            let _ = set(&switches, on);
        }
    });
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    app.run(listener, async move {
        terminate.recv().await;
        Stop::Now
    })
    .await;
    Ok(())
}

fn set(switches: &Switches, on: bool) -> Result<(), String> {
    for part in std::env::var("FAULTS").unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
        let fault = match part.split_once('=').map(|(_, fault)| fault) {
            _ if !on => Fault::None,
            Some("hang") => Fault::Hang,
            Some("error") => Fault::Error,
            Some("full") => Fault::Full,
            _ => return Err(format!("FAULTS: {part} is not understood")),
        };
        if part.starts_with("read=") {
            switches.set_read(fault);
        } else {
            switches.set_write(fault);
        }
    }
    Ok(())
}
