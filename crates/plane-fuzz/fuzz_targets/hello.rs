//! The first bytes of a connection.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plane_tcp::fuzzing::greeting(data));
