//! larder: a remote build cache node.
pub mod clock;
pub mod model;
pub mod store;
