//! Endpoints, instances and addresses.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| plane_fuzz::names(data));
