//! Holds docs/configuration.md to what the code does.

use super::names::KNOWN;
use super::{Config, Strictness};

const TEXT: &str = include_str!("../../../../docs/configuration.md");

/// The blocks that show what is printed: lines that begin with `$ ` set a variable, the others are the message.
fn examples() -> impl Iterator<Item = &'static str> {
    TEXT.split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix("text\n"))
        .filter(|block| block.starts_with("$ "))
}

#[test]
fn every_example_is_what_is_printed() {
    let mut shown = 0;
    for example in examples() {
        let (vars, expected): (Vec<&str>, Vec<&str>) = example.lines().partition(|line| line.starts_with("$ "));
        let vars = vars.iter().map(|line| line[2..].split_once('=').expect("NAME=value"));
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let printed = match Config::from_vars(vars, Strictness::Strict) {
            Err(error) => error.to_string(),
            Ok(config) => config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(printed, expected.join("\n"));
        shown += 1;
    }
    assert!(shown > 0);
}

#[test]
fn every_variable_has_its_row() {
    for name in KNOWN {
        let rows = TEXT.lines().filter(|line| line.starts_with(&format!("| `{name}` |"))).count();
        assert_eq!(rows, 1, "{name}");
    }
}
