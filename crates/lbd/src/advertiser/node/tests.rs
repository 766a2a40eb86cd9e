//! Whole nodes in simulated time.
