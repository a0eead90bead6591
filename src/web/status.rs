//! `GET /`: the node at a glance, in plain text that fits 80 columns.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};

use super::{Node, answer};
use crate::config::units::human_bytes;
use crate::metrics::Metrics;

/// The page.
pub async fn page(State(node): State<Arc<Node>>) -> Response<Body> {
    answer::text(StatusCode::OK, render(&node))
}

fn render(node: &Node) -> String {
    let metrics = &node.parts.metrics;
    let (hits, misses) = (metrics.hits.get(), metrics.misses.get());
    let uptime = Duration::from_secs(node.started.elapsed().as_secs());
    let rate = match hits + misses {
        0 => "no lookups yet".to_owned(),
        all => format!("{:.1} % of {all} lookups", hits as f64 * 100.0 / all as f64),
    };
    let mut page = format!("larder {}, up {}\n\n", env!("CARGO_PKG_VERSION"), humantime::format_duration(uptime));
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(page, "{name:<12} {value}");
    };
    line("hits", format!("{hits} ({rate})"));
    line("misses", misses.to_string());
    line("time saved", human_seconds(metrics.saved_seconds.get()));
    line("stored", counted(metrics.stores.get(), "entry", "entries"));
    let lookups = |outcome| metrics.oci_lookups.with_label_values(&[outcome]).get();
    let pushes = |kind| metrics.oci_pushes.with_label_values(&[kind]).get();
    let (pulled, missed) = (lookups("hit"), lookups("miss"));
    if pulled + missed + pushes("blob") + pushes("manifest") > 0 {
        line("images", format!("{pulled} lookups found, {missed} not"));
        line("pushed", format!("{} layers, {} manifests", pushes("blob"), pushes("manifest")));
        line("mounted", metrics.oci_mounts.get().to_string());
    }
    line("fill", fill(node));
    let declined = Metrics::by_label(&metrics.declined);
    let total: u64 = declined.iter().map(|(_, count)| count).sum();
    line("declined", if total == 0 { "nothing".into() } else { total.to_string() });
    for (reason, count) in &declined {
        line("", format!("{count} {}", explain(reason)));
    }
    if metrics.auth_failures.get() > 0 {
        line("refused", format!("{} requests with a wrong password or none; see the log", metrics.auth_failures.get()));
    }
    if metrics.corrupt.get() > 0 {
        line("damaged", format!("{} records found and told as misses; see the log", metrics.corrupt.get()));
    }
    page
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {} since the start", if count == 1 { one } else { many })
}

fn fill(node: &Node) -> String {
    let metrics = &node.parts.metrics;
    let held = match node.parts.usage.figures() {
        Some(figures) => format!("{} in {} files", human_bytes(figures.bytes), figures.objects),
        None => "being counted".to_owned(),
    };
    match u64::try_from(metrics.store_free_bytes.get()) {
        Ok(free) if free > 0 => format!("{held}, {} free", human_bytes(free)),
        _ => held,
    }
}

fn explain(reason: &str) -> &str {
    match reason {
        "too-large" => "too-large: larger than gradle.max_entry",
        "read-only" => "read-only: the user has no read-write grant",
        "no-space" => "no-space: the store is full",
        "bad-key" => "bad-key: not a cache key, or not a namespace",
        "unavailable" => "unavailable: the store did not take them",
        "corrupt" => "corrupt: they did not hold their own checks",
        other => other,
    }
}

/// A time for people: `3.2 s`, `14 min`, `6.1 h`.
pub fn human_seconds(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
