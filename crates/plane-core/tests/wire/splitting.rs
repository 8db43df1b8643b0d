//! Frames that come in pieces.

use bytes::BytesMut;
use plane_core::frame::{Decoder, Frame, FrameLimits};
use proptest::prelude::*;

use crate::frames::any_frame;

fn decoder() -> Decoder {
    Decoder::new(FrameLimits::default(), 64 * 1024)
}

/// What comes out of a decoder now, as text.
fn drain(decoder: &mut Decoder) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(mut frames) = decoder.frames().expect("correct frames") {
        while let Some(frame) = frames.next(|frame: Frame<'_>| format!("{frame:?}")) {
            out.push(frame.expect("a correct frame"));
        }
    }
    out
}

/// What comes out when the bytes come in these pieces.
fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = decoder();
    let mut out = Vec::new();
    for piece in pieces {
        decoder.extend(piece);
        out.extend(drain(&mut decoder));
    }
    assert_eq!(decoder.partial(), 0);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Case A1: every strict prefix of a frame is incomplete, and nothing of the next frame is touched.
    #[test]
    fn a_prefix_is_incomplete(frame in any_frame()) {
        for length in 0..frame.len() {
            let mut decoder = decoder();
            decoder.extend(&frame[..length]);
            prop_assert!(drain(&mut decoder).is_empty(), "{length} of {} bytes", frame.len());
            prop_assert_eq!(decoder.partial(), length);
            decoder.extend(&frame[length..]);
            decoder.extend(&frame[..length]);
            prop_assert_eq!(drain(&mut decoder).len(), 1);
            prop_assert_eq!(decoder.partial(), length);
        }
    }

    /// Case A1 and threat A30: byte by byte, in any pieces, or at once, the same frames come out.
    #[test]
    fn pieces_make_no_difference(
        frames in prop::collection::vec(any_frame(), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let bytes: BytesMut = frames.iter().flatten().copied().collect();
        let whole = in_pieces([&bytes[..]]);
        prop_assert_eq!(whole.len(), frames.len());
        prop_assert_eq!(&in_pieces(bytes.chunks(1)), &whole);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        prop_assert_eq!(&in_pieces(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]])), &whole);
    }
}
