//! What was promised and what was seen.

use anyhow::{Result, ensure};

#[derive(Debug, Default)]
pub(super) struct Verdict {
    seen: Vec<(bool, String)>,
}

impl Verdict {
    /// Notes whether one thing was as promised.
    pub(super) fn note(&mut self, is_good: bool, what: impl Into<String>) {
        self.seen.push((is_good, what.into()));
    }

    pub(super) fn show(&self) {
        println!("\nWhat was seen:");
        for (is_good, what) in &self.seen {
            println!("  {} {what}", if *is_good { "✓" } else { "✗" });
        }
    }

    /// # Errors
    /// What was not as promised.
    pub(super) fn finish(self) -> Result<()> {
        let bad: Vec<String> = self.seen.into_iter().filter(|(is_good, _)| !is_good).map(|(_, what)| what).collect();
        ensure!(bad.is_empty(), "not as promised: {}", bad.join("; "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_promise_is_a_failure() {
        let mut verdict = Verdict::default();
        verdict.note(true, "a");
        verdict.note(false, "b");
        assert!(verdict.finish().is_err());
        let mut verdict = Verdict::default();
        verdict.note(true, "a");
        assert!(verdict.finish().is_ok());
    }
}
