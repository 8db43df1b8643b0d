//! What the command line asks for: a part of what `cargo test` passes on, and what `cargo xtask chaos` adds.

use std::time::Duration;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Names of cases, or parts of them; none for all.
    pub(super) filters: Vec<String>,
    pub(super) exact: bool,
    pub(super) list: bool,
    /// Ids of docs/threats.md; none for all.
    pub(super) only: Vec<String>,
    /// The sizes for a night.
    pub(super) long: bool,
    /// Begins again until this is over.
    pub(super) time: Option<Duration>,
    /// Runs this case in this process.
    pub(super) alone: Option<String>,
}

impl Options {
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--long" => options.long = true,
                "--only" => options.only.push(value()?.to_uppercase()),
                "--alone" => options.alone = Some(value()?),
                "--minutes" => {
                    let text = value()?;
                    let minutes: u64 =
                        text.parse().map_err(|_| format!("--minutes {text}: not a number of minutes"))?;
                    options.time = Some(Duration::from_secs(minutes * 60));
                }
                "--skip" | "--test-threads" | "--format" | "--color" | "-Z" => _ = value()?,
                // Others of the standard harness change nothing here.
                flag if flag.starts_with('-') => {}
                _ => options.filters.push(argument),
            }
        }
        Ok(options)
    }

    /// Whether a case of this name and these ids is asked for.
    pub(super) fn asks_for(&self, name: &str, ids: &[&str]) -> bool {
        let named = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        let by_name = self.filters.is_empty() || self.filters.iter().any(named);
        by_name && (self.only.is_empty() || self.only.iter().any(|only| ids.contains(&only.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn cases_are_asked_for_by_name_and_by_id() {
        let options = parse("frozen --nocapture --test-threads 1").unwrap();
        assert!(
            options.asks_for("tcp::a_frozen_worker", &["C3"]) && !options.asks_for("tcp::a_killed_worker", &["C1"])
        );
        assert!(!parse("frozen --exact").unwrap().asks_for("tcp::a_frozen_worker", &["C3"]));
        let options = parse("--only c3 --minutes 2 --long").unwrap();
        assert!(options.asks_for("x", &["C1", "C3"]) && !options.asks_for("x", &["C30"]) && options.long);
        assert_eq!(options.time, Some(Duration::from_secs(120)));
        assert!(parse("--minutes soon").is_err() && parse("--only").is_err());
    }
}
