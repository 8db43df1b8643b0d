//! Subjects, headers, ends, payloads and packs of calls over NATS.

#![no_main]

use plane_nats::fuzzing::{heads, packs, payloads, subjects};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    payloads(data);
    packs(data);
    if let Ok(text) = std::str::from_utf8(data) {
        subjects(text);
        heads(text);
    }
});
