//! What comes to the inbox of a call over NATS.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plane_nats::fuzzing::replies(data));
