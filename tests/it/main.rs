//! Integration tests: a whole node in this process, real sockets, one module for each route or promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod admin;
mod auth;
mod binary;
mod damage;
mod faults;
mod gradle;
mod gradle_limits;
mod gradle_wire;
mod layers;
mod memory;
mod serving;
mod support;
