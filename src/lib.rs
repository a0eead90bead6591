//! larder, a remote build cache node: the Gradle build cache protocol over memory and a store.
//!
//! Layers, each of which imports only from those after it:
//!
//! ```text
//! main -> cli -> app -> { serve, web } -> { auth, registry } -> cache -> store -> model
//! ```
//!
//! `config`, `metrics`, `telemetry` and `clock` stand beside them. Start reading at [`app`], which puts the parts
//! together, or at [`web`], where the protocol's answers are; ARCHITECTURE.md tells why things are as they are.

pub mod app;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod metrics;
pub mod model;
pub mod registry;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod web;
