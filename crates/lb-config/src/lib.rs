//! keepalived.conf to one typed [`Model`], with diagnostics.
//!
//! Two stages: *syntax* makes a tree of blocks and words with spans of bytes and knows no keyword,
//! *meaning* makes the model of it by tables that say what each keyword takes. Files are read
//! through a trait, so that the whole crate works on texts in memory as well.

pub mod model;

pub use model::Model;
