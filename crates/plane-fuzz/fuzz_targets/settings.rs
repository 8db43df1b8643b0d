//! Variables as people write them, and what the transports make of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| plane_manager::fuzzing::settings(data));
