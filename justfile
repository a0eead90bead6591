# Habits. Everything that CI does is in tests/run.

default:
    @just --list

# Start a node on 127.0.0.1:5071
serve *ARGS:
    cargo run --release -- {{ARGS}}

# Everything that has to pass
test:
    tests/run

# What is worth running before every commit
quick:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test

# The micro bench of the hot path
bench:
    cargo bench

# larder beside nginx and bazel-remote
peers *ARGS:
    cargo build --release
    benches/peers/run {{ARGS}}

# Fuzz one parser for a while (needs cargo-fuzz and a nightly compiler)
fuzz TARGET SECONDS="60":
    cargo +nightly fuzz run {{TARGET}} -- -max_total_time={{SECONDS}}
