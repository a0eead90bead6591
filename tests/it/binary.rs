//! The program itself: its exit codes, what it prints, what it never prints, and what it keeps when it is killed.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;

use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::program::{Program, run};
use crate::support::{Connection, MIB, TestNode, eventually};

/// Runs `larder serve` with what is wrong, and expects this exit code, nothing on standard output, and one line on
/// standard error that contains `expected`.
fn ends_with(code: i32, args: &[&str], environment: &[(&str, &str)], expected: &str) {
    let (found, out, err) = run(args, environment);
    assert_eq!(found, code, "{args:?}: {err}");
    assert!(err.contains(expected), "{args:?}: {err}");
    assert_eq!(err.lines().count(), 1, "one line: {err}");
    assert_eq!(out, "", "{args:?}");
}

/// A file with this text, gone with the directory.
fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

#[test]
fn a_wrong_configuration_ends_with_64_and_one_line() {
    for (text, expected) in [
        ("[gradle]\nmax_entri = \"1MiB\"\n", "max_entri"),
        ("[gradle]\nmax_entry = \"12 parsecs\"\n", "12 parsecs"),
        ("[server]\nidle_timeout = 30\n", "30"),
        ("[server\n", "line 1"),
        ("[store]\nurl = \"s4://bucket\"\n", "s4://"),
        ("[server]\nlisten = \"0.0.0.0:0\"\n", "BUILD_CACHE_PASSWORD"),
        ("[[auth.user]]\nname = \"a\"\npassword_env = \"MISSING\"\ngrants = []\n", "MISSING"),
        ("[log]\nlevel = \"larder=loud\"\n", "log.level"),
    ] {
        let (_dir, path) = file("larder.toml", text);
        ends_with(64, &["check", "--config", &path], &[], expected);
        let data = format!("{path}.data");
        let listen: &[&str] = if text.contains("listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let data_of_its_own: &[&str] = if text.contains("s4://") { &[] } else { &["--data", &data] };
        ends_with(64, &[&["serve", "--config", &path], listen, data_of_its_own].concat(), &[], expected);
        assert!(!fs::exists(data).unwrap(), "nothing was begun");
    }
    ends_with(64, &["check"], &[("LARDER_GRADLE_MAX_ENTRY", "lots")], "LARDER_GRADLE_MAX_ENTRY");
}

#[test]
fn an_unknown_flag_ends_with_64_and_one_line() {
    ends_with(64, &["--lissten", "127.0.0.1:0"], &[], "--lissten");
    ends_with(64, &["sreve"], &[], "sreve");
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [["--help"], ["--version"]] {
        let (code, out, err) = run(&args, &[]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("larder"), "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_or_a_directory_in_use_ends_with_1_and_one_line() {
    let node = TestNode::start().await;
    let (address, dir) = (node.address.to_string(), tempfile::tempdir().unwrap());
    let data = dir.path().join("fresh");
    ends_with(1, &["--listen", &address, "--data", data.to_str().unwrap()], &[], &address);
    assert!(!data.exists(), "nothing was begun");
    let held = node.data().to_str().unwrap();
    let holder = format!("process {}", std::process::id());
    ends_with(1, &["serve", "--listen", "127.0.0.1:0", "--data", held], &[], &holder);
    let (_dir, path) = file("a-file", "");
    ends_with(1, &["--listen", "127.0.0.1:0", "--data", &path], &[], &path);
}

#[test]
fn what_kubernetes_injects_disturbs_nobody_and_what_nobody_knows_is_named() {
    let kubernetes = [
        ("LARDER_PORT", "tcp://10.0.0.1:5071"),
        ("LARDER_PORT_5071_TCP", "tcp://10.0.0.1:5071"),
        ("LARDER_PORT_5071_TCP_PROTO", "tcp"),
        ("LARDER_SERVICE_HOST", "10.0.0.1"),
        ("LARDER_SERVICE_PORT_HTTP", "5071"),
    ];
    let plain = run(&["check"], &[]);
    assert_eq!(plain.0, 0, "{}", plain.2);
    assert_eq!(run(&["check"], &kubernetes), plain);
    let (code, out, _) = run(&["check"], &[("LARDER_GRADEL_WRITES", "strict")]);
    assert!(code == 0 && out.contains("LARDER_GRADEL_WRITES"), "{out}");
}

#[test]
fn check_prints_no_secret() {
    let users = r#"
        [[auth.user]]
        name = "ci"
        password = "hunter22"
        grants = ["gradle:**=read-write"]
        [[auth.user]]
        name = "old"
        password_hash = "$2y$04$abcdefghijklmnopqrstuuXvVhXkGcUZ0ha1qFqY0vO2jTc8Q6u0K"
        grants = []
    "#;
    let (_dir, path) = file("larder.toml", users);
    let (code, out, err) = run(&["check", "--config", &path], &[]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("\"ci\"") && out.contains("redacted"), "{out}");
    let (_, injected, _) = run(&["check"], &[("BUILD_CACHE_PASSWORD", "hunter22")]);
    assert!(injected.contains("\"gradle\""), "{injected}");
    for text in [out, err, injected] {
        assert!(!text.contains("hunter22") && !text.contains("$2y$"), "{text}");
    }
}

#[test]
fn the_example_configuration_says_what_is_so_anyway() {
    let table = |args: &[&str]| {
        let (code, out, err) = run(args, &[]);
        assert_eq!(code, 0, "{err}");
        out.parse::<toml::Table>().unwrap()
    };
    let (listed, default) = (table(&["check", "--config", "config/larder.toml"]), table(&["check"]));
    assert_eq!(listed, default);
    // Every key stands in the file, if only in a comment where the default depends on the machine.
    let text = fs::read_to_string("config/larder.toml").unwrap();
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push(format!("{section}.{key}"));
        }
    }
    for (section, values) in &default {
        for key in values.as_table().unwrap().keys() {
            assert!(keys.contains(&format!("{section}.{key}")), "{section}.{key} is missing");
        }
    }
}

#[test]
fn a_configuration_of_the_old_node_becomes_one_of_larder() {
    let yaml = "version: 5\ncache:\n  maxArtifactSize: 50\n  accessControl:\n    anonymousLevel: read\n    users:\n\
                \x20     ci-user:\n        level: readwrite\n        password: \"c2FsdA==:aGFzaA==\"\n  targetSize:\n\
                \x20   type: fixed\n    size: 5000\n";
    let (_dir, path) = file("config.yaml", yaml);
    let (code, toml, report) = run(&["import-node-config", &path], &[]);
    assert_eq!(code, 0, "{report}");
    assert!(report.contains("carried over") && report.contains("ci-user"), "{report}");
    let (_dir, path) = file("larder.toml", &toml);
    let (code, shown, err) = run(&["check", "--config", &path], &[("LARDER_PASSWORD_CI_USER", "pw")]);
    assert_eq!(code, 0, "{err}");
    let shown: toml::Table = shown.parse().unwrap();
    assert_eq!(shown["gradle"]["max_entry"].as_str(), Some("50MiB"));
    assert_eq!(shown["auth"]["anonymous"].as_str(), Some("read"));
    assert_eq!(shown["auth"]["user"][0]["name"].as_str(), Some("ci-user"));
    let (_dir, path) = file("config.yaml", "version: 1\n");
    ends_with(64, &["import-node-config", &path], &[], "version 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let quick = [("LARDER_SERVER_DRAIN_ACCEPT", "200ms"), ("LARDER_SERVER_DRAIN_TOTAL", "5s")];
    let mut program = Program::start(&dir.path().join("data"), &dir.path().join("log"), &quick);
    let mut connection = program.connect().await;
    assert_eq!(connection.send("PUT", "/cache/aa", &[], b"body").await.status, 201);
    program.terminate();
    assert!(connection.is_closed_within(Duration::from_secs(10)).await);
    assert_eq!(program.ended().code(), Some(0), "{:?}", fs::read_to_string(dir.path().join("log")));
    let again = Program::start(&dir.path().join("data"), &dir.path().join("log"), &quick);
    assert_eq!(again.connect().await.send("GET", "/cache/aa", &[], b"").await.body, b"body");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_never_appear_in_the_log() {
    for level in ["trace", "trace,larder=trace"] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let environment = [("LARDER_LOG_LEVEL", level), ("BUILD_CACHE_PASSWORD", "s3cretpassword")];
        let mut program = Program::start(&dir.path().join("data"), &log, &environment);
        let mut connection = program.connect().await;
        for (user, password, status) in
            [("gradle", "s3cretpassword", 201), ("gradle", "wr0ngpassword", 401), ("stranger", "s3cretpassword", 401)]
        {
            let credentials = basic(user, password);
            let answer = connection.send("PUT", "/cache/aa", &[("Authorization", &credentials)], b"body").await;
            assert_eq!(answer.status, status, "{user}");
            connection.send("GET", "/cache/aa", &[("Authorization", &credentials)], b"").await;
        }
        for odd in ["Basic s3cretpassword", "Bearer s3cretpassword", "s3cretpassword"] {
            connection.send("GET", "/cache/aa", &[("Authorization", odd)], b"").await;
        }
        program.kill();
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("first store"), "it does log: {log}");
        let encoded = |text: &str| STANDARD.encode(text).trim_end_matches('=').to_owned();
        for secret in [
            "s3cretpassword",
            "wr0ngpassword",
            &encoded("gradle:s3cretpassword"),
            &encoded("gradle:wr0ngpassword"),
            &encoded("stranger:s3cretpassword"),
        ] {
            assert!(!log.contains(secret), "{secret} is in the log at {level}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let size = |i: u64| [450, 3000, 70_000, 300_000, MIB + 5, 2 * MIB][(i % 6) as usize];
    let (mut tried, acknowledged) = (Vec::new(), Arc::new(Mutex::new(Vec::new())));
    for round in 0..3 {
        let mut program = Program::start(&data, &log, &[]);
        let before = acknowledged.lock().unwrap().len();
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (address, acknowledged) = (program.address, Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    let mut connection = Connection::open(address).await;
                    for i in (round * 100_000 + client..).step_by(8) {
                        let head = format!("PUT /cache/aa{i} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", size(i));
                        let request = [head.into_bytes(), noise(i, size(i))].concat();
                        let sent = connection.stream.write_all(&request).await;
                        match connection.try_answer("PUT").await {
                            Some(answer) if sent.is_ok() => assert_eq!(answer.status, 201),
                            _ => return i,
                        }
                        acknowledged.lock().unwrap().push(i);
                    }
                    unreachable!()
                })
            })
            .collect();
        eventually("some are stored", async || acknowledged.lock().unwrap().len() >= before + 60).await;
        program.kill();
        for client in clients {
            tried.push(client.await.unwrap());
        }
    }
    let program = Program::start(&data, &log, &[]);
    let mut connection = program.connect().await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 180);
    for i in acknowledged {
        let answer = connection.send("GET", &format!("/cache/aa{i}"), &[], b"").await;
        assert_eq!(answer.status, 200, "entry {i} was acknowledged");
        assert!(answer.body == noise(i, size(i)), "entry {i} came back with other bytes");
    }
    for i in tried {
        let answer = connection.send("GET", &format!("/cache/aa{i}"), &[], b"").await;
        assert!(answer.status == 404 || answer.body == noise(i, size(i)), "entry {i}: all or nothing");
    }
    let left = crate::support::disk::files(&data.join("tmp"));
    assert!(left.is_empty(), "{left:?}");
}
