//! The rooms of the house and what each may import: the layering of ARCHITECTURE.md, executable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room by room: the other rooms of the crate that it may name, and the crates. What is not listed is forbidden.
/// `std`, `core` and the crates of `EVERYWHERE` are free.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    ("main", &["cli"], &[]),
    (
        "cli",
        &["app", "auth", "config", "model", "serve", "store", "telemetry"],
        &["clap", "rustix", "serde_saphyr", "tokio", "toml"],
    ),
    ("app", &["auth", "cache", "config", "metrics", "model", "registry", "serve", "store", "web"], &["hyper", "tokio"]),
    (
        "web",
        &["auth", "cache", "clock", "config", "metrics", "model", "registry", "store"],
        &[
            "axum",
            "flate2",
            "form_urlencoded",
            "futures_util",
            "http_body",
            "http_body_util",
            "humantime",
            "percent_encoding",
            "prometheus",
            "serde_json",
            "tower",
            "tower_http",
        ],
    ),
    ("serve", &["metrics"], &["hyper", "hyper_util", "pin_project_lite", "socket2", "tokio"]),
    (
        "auth",
        &["clock", "config", "model"],
        &["argon2", "base64", "bcrypt", "getrandom", "serde_json", "sha2", "subtle", "tokio"],
    ),
    (
        "registry",
        &["cache", "clock", "model", "store"],
        &["base64", "futures_util", "prometheus", "serde_json", "tokio", "ulid"],
    ),
    ("cache", &["clock", "metrics", "model", "store"], &["moka", "tokio", "ulid", "xxhash_rust"]),
    (
        "store",
        &["clock", "model"],
        &["async_trait", "base64", "futures_util", "getrandom", "object_store", "rustix", "serde_json", "tokio"],
    ),
    ("model", &["clock"], &["base64", "flate2", "hmac", "serde_json", "sha2", "ulid", "xxhash_rust"]),
    ("config", &[], &["bytesize", "humantime", "toml"]),
    ("metrics", &["clock"], &["prometheus", "rustix"]),
    ("telemetry", &["config"], &["tracing_subscriber"]),
    ("clock", &[], &["getrandom", "ulid"]),
    (
        "lib",
        &[
            "app",
            "auth",
            "cache",
            "cli",
            "clock",
            "config",
            "metrics",
            "model",
            "registry",
            "serve",
            "store",
            "telemetry",
            "web",
        ],
        &[],
    ),
];
const EVERYWHERE: &[&str] = &["bytes", "serde", "thiserror", "tracing"];
const FREE: &[&str] = &["std", "core", "alloc", "crate", "super", "self", "larder"];
/// Only one room below a room may name these.
const WITHIN: &[(&str, &str)] =
    &[("moka", "src/cache/hot.rs"), ("object_store", "src/store/memory.rs"), ("rustix", "src/store/dir/")];

#[test]
fn imports_go_down_only() {
    let dependencies = dependencies();
    let mut broken = Vec::new();
    for file in sources(Path::new("src")) {
        let path = file.to_str().unwrap();
        let (_, rooms, crates) = ROOMS.iter().find(|(room, ..)| *room == room_of(path)).expect("a room of the table");
        let code = code(&fs::read_to_string(&file).unwrap());
        for (line, text) in code.lines().enumerate() {
            for room in names_after(text, "crate::").chain(names_after(text, "larder::")) {
                let known = ROOMS.iter().any(|(name, ..)| *name == room);
                if known && room != room_of(path) && !rooms.contains(&room) {
                    broken.push(format!("{path}:{}: {} must not import crate::{room}", line + 1, room_of(path)));
                }
            }
            for dependency in &dependencies {
                let named = text.contains(&format!("{dependency}::")) && starts_a_path(text, dependency);
                if named && !crates.contains(&dependency.as_str()) && !EVERYWHERE.contains(&dependency.as_str()) {
                    broken.push(format!("{path}:{}: {} must not name the crate {dependency}", line + 1, room_of(path)));
                }
                if named && room_of(path) != "cli" && room_of(path) != "metrics" {
                    let walled = WITHIN.iter().find(|(name, _)| name == dependency);
                    let outside = walled.is_some_and(|(_, within)| !path.starts_with(within));
                    if outside && !(path == "src/store/error.rs" && dependency == "rustix") {
                        broken.push(format!("{path}:{}: only {} may name {dependency}", line + 1, walled.unwrap().1));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    let mut wrong = Vec::new();
    for file in sources(Path::new("src")).into_iter().chain(sources(Path::new("tests"))) {
        let text = fs::read_to_string(&file).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: the first line does not say what the file is", file.display()));
        }
        if text.lines().count() > 450 {
            wrong.push(format!("{}: {} lines; is it still one thing?", file.display(), text.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split(['/', '.']).next().unwrap()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code without comments and unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let text = text.split("#[cfg(test)]\npub").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn names_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter(move |(at, _)| *at == 0 || !is_word(text.as_bytes()[at - 1])).flat_map(
        move |(at, _)| {
            let rest = &text[at + prefix.len()..];
            let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
            let braces = rest.starts_with('{');
            list.split(',').take(if braces { usize::MAX } else { 1 }).map(|name| {
                let name = name.trim();
                &name[..name.bytes().take_while(|&b| is_word(b)).count()]
            })
        },
    )
}

fn starts_a_path(text: &str, name: &str) -> bool {
    text.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = text[..at].bytes().last();
        before.is_none_or(|b| !is_word(b) && b != b':')
    })
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    let names = manifest["dependencies"].as_table().unwrap().keys();
    names.map(|name| name.replace('-', "_")).filter(|name| !FREE.contains(&name.as_str())).collect()
}
