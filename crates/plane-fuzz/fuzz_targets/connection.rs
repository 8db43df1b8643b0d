//! A connection, its users, and a peer that says anything.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plane_tcp::fuzzing::connection(data));
