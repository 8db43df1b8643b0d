//! Texts of the other side, as they are kept for people and the log.

/// At most so many bytes of a text, whatever it is made of: what is no UTF-8 and what would steer a terminal is replaced.
pub(super) fn kept(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    // A byte that is no UTF-8 becomes three.
    let text = &text[..text.floor_char_boundary(most)];
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_printable_and_within_its_limit() {
        for (bytes, expected) in [
            (&b"plane/0.1.0"[..], "plane/0.1.0"),
            (b"a\x1b[1m\n\x7f", "a?[1m??"),
            (b"\xc2\x85z", "?z"),
            (b"0123456789abcdefgh", "0123456789abcdef"),
            (&[0xff; 16], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(kept(bytes, 16), expected);
        }
    }
}
