//! `lbd`

fn main() {}
