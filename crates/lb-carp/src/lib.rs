//! CARP: packets and the state machine of one vhid.
//!
//! Pure: no socket, no clock, no global.
