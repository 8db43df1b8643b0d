//! The decoder of frames, with any bytes in any pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| plane_fuzz::frames(data));
