//! Numbers that nobody can guess: who knows one may answer or end the call that it stands for.

use std::hash::{BuildHasher, RandomState};

/// 64 bits under a key from the system's source. A generator that starts from the clock could be guessed.
pub(crate) fn secret() -> u64 {
    RandomState::new().hash_one(0)
}

/// 128 of them, as a token of a subject.
pub(crate) fn secret_token() -> String {
    format!("{:016x}{:016x}", secret(), secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let tokens: std::collections::HashSet<String> = (0..10_000).map(|_| secret_token()).collect();
        assert_eq!(tokens.len(), 10_000);
        assert!(tokens.iter().all(|token| token.len() == 32));
    }
}
