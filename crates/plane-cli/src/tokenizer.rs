//! Text to tokens and back ([`Tokenizer`]), in whole characters only ([`TokenText`]).

use std::fmt;
use std::sync::Arc;

use plane_core::Status;
use tiktoken_rs::CoreBPE;

/// A byte-pair tokenizer with the `cl100k_base` vocabulary, which comes with the binary.
///
/// Cloning is one atomic increment; making one parses the vocabulary, which takes about a tenth of a second.
#[derive(Clone)]
pub struct Tokenizer {
    bpe: Arc<CoreBPE>,
}

impl Tokenizer {
    /// Parses the vocabulary.
    ///
    /// # Errors
    /// The text of the library; it can only come from a broken build.
    pub fn new() -> Result<Self, String> {
        let bpe = tiktoken_rs::cl100k_base().map_err(|error| format!("cannot load the vocabulary: {error}"))?;
        Ok(Self { bpe: Arc::new(bpe) })
    }

    /// The tokens of a text. Text that looks like a control token is ordinary text.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.bpe.encode_ordinary(text)
    }

    /// How many tokens a text is.
    #[must_use]
    pub fn count(&self, text: &str) -> u32 {
        u32::try_from(self.bpe.count_ordinary(text)).unwrap_or(u32::MAX)
    }

    /// Turns tokens back into text, one after the other.
    #[must_use]
    pub fn text(&self) -> TokenText {
        TokenText { tokenizer: self.clone(), pending: Vec::new() }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokenizer(cl100k_base)")
    }
}

/// Turns tokens into text as they come. A token may end inside of a character; it is kept until the rest has come.
#[derive(Debug)]
pub struct TokenText {
    tokenizer: Tokenizer,
    pending: Vec<u8>,
}

impl TokenText {
    /// Takes a token; gives the characters that are whole now, often none.
    ///
    /// # Errors
    /// [`Code::INTERNAL`](plane_core::Code::INTERNAL) if there is no such token.
    pub fn push(&mut self, token: u32) -> Result<String, Status> {
        let broken = |error: &dyn fmt::Display| Status::internal(format!("cannot decode token {token}: {error}"));
        let bytes = self.tokenizer.bpe.decode_bytes(&[token]).map_err(|error| broken(&error))?;
        self.pending.extend(bytes);
        let whole = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.pending.split_off(whole);
        String::from_utf8(std::mem::replace(&mut self.pending, rest)).map_err(|error| broken(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] = [
        "plain words, 12345",
        "Grüße aus Köln — naïve café",
        "漢字かな交じり文 \u{10348}",
        "🧑‍🚀🇩🇪👩🏽‍🔬 zalgo: e\u{301}\u{316}",
    ];

    #[test]
    fn text_survives_token_by_token() {
        let tokenizer = Tokenizer::new().unwrap();
        for text in TEXTS {
            let mut decoder = tokenizer.text();
            let pieces = tokenizer.encode(text).into_iter().map(|token| decoder.push(token).unwrap());
            assert_eq!(pieces.collect::<String>(), text);
        }
    }

    /// Without such a token the test above would show nothing.
    #[test]
    fn some_tokens_end_inside_of_a_character() {
        let tokenizer = Tokenizer::new().unwrap();
        let tokens = tokenizer.encode("\u{10348}");
        assert!(tokens.len() > 1);
        let mut decoder = tokenizer.text();
        let pieces: Vec<_> = tokens.iter().map(|token| decoder.push(*token).unwrap()).collect();
        assert_eq!((pieces[0].as_str(), pieces[tokens.len() - 1].as_str()), ("", "\u{10348}"));
    }

    #[test]
    fn control_tokens_are_ordinary_text() {
        let tokenizer = Tokenizer::new().unwrap();
        assert!(tokenizer.count("<|endoftext|>") > 1);
        assert!(tokenizer.text().push(u32::MAX).is_err());
    }
}
