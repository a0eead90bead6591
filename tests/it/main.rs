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
mod kaniko_replay;
mod layers;
mod memory;
mod oci_access;
mod oci_blobs;
mod oci_faults;
mod oci_leases;
mod oci_lists;
mod oci_manifests;
mod oci_promises;
mod oci_uploads;
mod oci_walk;
mod serving;
mod support;
