//! The crate against the real kernel, in network namespaces of its own.

mod addresses;
mod adverts;
mod cable;
mod leftovers;
mod segment;
mod shares;
mod takeovers;
mod vmacs;
mod watches;
