//! The tests that documents name: docs/cases.md by file, docs/threats.md by name, docs/limits.md by either.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;

const CASES: &str = "docs/cases.md";
const THREATS: &str = "docs/threats.md";
const LIMITS: &str = "docs/limits.md";

/// A row of a table whose first cell is a letter and a number.
struct Row<'a> {
    id: &'a str,
    /// The last cell.
    evidence: &'a str,
}

impl Row<'_> {
    /// Says itself that it is not shown, or not all of it.
    fn is_open(&self) -> bool {
        self.evidence.split([',', ' ']).any(|part| part == "open")
    }

    /// What stands between backticks.
    fn named(&self) -> impl Iterator<Item = &str> {
        self.evidence.split('`').skip(1).step_by(2)
    }
}

fn rows<'a>(sources: &'a [Source], document: &str) -> Vec<Row<'a>> {
    let text = sources.iter().find(|source| source.path == document).map_or("", |source| &source.text);
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells = line.strip_prefix('|')?.strip_suffix('|')?;
    let (id, _) = cells.split_once('|')?;
    let (_, evidence) = cells.rsplit_once('|')?;
    let id = id.trim();
    let number = id.strip_prefix(['A', 'B', 'C', 'D', 'E'])?;
    number.parse::<u8>().is_ok().then(|| Row { id, evidence: evidence.trim() })
}

/// Every file that docs/cases.md names is there.
pub(super) fn cases(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for row in rows(sources, CASES) {
        if row.named().next().is_none() {
            findings.push(format!("{CASES}: {} names no test", row.id));
        }
        for path in row.named() {
            if !sources.iter().any(|source| source.path.strip_prefix("crates/") == Some(path)) {
                findings.push(format!("{CASES}: {}: there is no crates/{path}", row.id));
            }
        }
    }
    findings
}

/// Every row of docs/threats.md stands there once, names tests that are there, and is shown by them: none is open.
pub(super) fn threats(sources: &[Source]) -> Vec<String> {
    let tests = tests_by_package(sources);
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for row in rows(sources, THREATS) {
        if !seen.insert(row.id) {
            findings.push(format!("{THREATS}: {} stands there twice", row.id));
        }
        if row.named().next().is_none() {
            findings.push(format!("{THREATS}: {} names no test", row.id));
        }
        if row.is_open() {
            findings.push(format!("{THREATS}: {} is open: write the test that shows what is missing", row.id));
        }
        let is_there = |name: &str| {
            let (package, test) = name.split_once("::").unwrap_or(("", name));
            tests.get(package).is_some_and(|tests| tests.contains(test))
        };
        let missing = row.named().filter(|name| !is_there(name));
        findings.extend(missing.map(|name| format!("{THREATS}: {}: there is no test {name}", row.id)));
    }
    findings
}

/// Every test and file that docs/limits.md names is there.
pub(super) fn limits(sources: &[Source]) -> Vec<String> {
    let tests = tests_by_package(sources);
    let text = sources.iter().find(|source| source.path == LIMITS).map_or("", |source| &source.text);
    let cells = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|')?.rsplit_once('|'));
    let named = cells.flat_map(|(_, last)| last.split('`').skip(1).step_by(2));
    let is_there = |name: &str| match name.split_once("::") {
        Some((package, test)) => tests.get(package).is_some_and(|tests| tests.contains(test)),
        None => sources.iter().any(|source| source.path.strip_prefix("crates/") == Some(name)),
    };
    named.filter(|name| !is_there(name)).map(|name| format!("{LIMITS}: there is no {name}")).collect()
}

fn tests_by_package(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let package = match source.path.strip_prefix("crates/").and_then(|path| path.split_once('/')) {
            Some((package, _)) => package,
            None => source.path.split('/').next().unwrap_or_default(),
        };
        tests.entry(package).or_default().extend(tests_of(&source.text));
    }
    tests
}

/// Functions under a `#[test]` or `#[tokio::test]`, cases of the conformance suite, and rows `name: ..` of a macro
/// that makes tests or lists fault cases.
fn tests_of(text: &str) -> BTreeSet<&str> {
    let makes_tests = text.contains("macro_rules!") && (text.contains("test]") || text.contains("fault::Case"));
    let mut attributed = false;
    let mut tests = BTreeSet::new();
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            attributed |= line.starts_with("#[test]") || line.contains("::test]") || line.contains("::test(");
            continue;
        }
        let is_case = line.starts_with("pub async fn ") && line.contains("<P: Plane>()");
        if let Some((_, after)) = line.split_once("fn ").filter(|_| attributed || is_case) {
            tests.extend(after.split(['(', '<']).next());
        } else if let Some((name, _)) = line.split_once(':').filter(|_| makes_tests) {
            tests.insert(name);
        }
        attributed &= line.is_empty() || line.starts_with("//");
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    const TESTS: &str = "#[test]\nfn plain() {}\n\n#[tokio::test(flavor = \"x\")]\nasync fn waits() {}\nfn none() {}\n";

    fn found(row: &str) -> usize {
        threats(&[source("docs/threats.md", row), source("crates/plane-a/tests/b.rs", TESTS)]).len()
    }

    #[test]
    fn a_test_that_is_not_there_is_found() {
        assert_eq!(found("| A1 | x | y | `plane-a::plain`, `plane-a::waits` |"), 0);
        for name in ["plane-a::none", "plane-b::plain", "plain", "plane-a::gone"] {
            assert_eq!(found(&format!("| A1 | x | y | `{name}` |")), 1, "{name}");
        }
    }

    #[test]
    fn every_row_has_a_test_and_none_is_open() {
        assert_eq!(found("| A1 | x | y |  |"), 1);
        assert_eq!(found("| A1 | x | y | open |"), 2);
        assert_eq!(found("| A1 | x | y | `plane-a::plain`, open |"), 1);
        assert_eq!(found("| A1 | x | y | `plane-a::plain` |\n| A1 | x | y | `plane-a::plain` |"), 1);
        assert_eq!(found("| A1 | it opens, and stays open | y | `plane-a::plain` |\n| G1 | z |\n| id | a |"), 0);
    }

    #[test]
    fn cases_of_the_suite_and_rows_of_a_macro_are_tests() {
        assert!(tests_of("pub async fn holds<P: Plane>() {").contains("holds"));
        let made = "macro_rules! m { () => { #[test] } }\nm! {\n    a_row: A = b;\n}";
        assert!(tests_of(made).contains("a_row"));
    }

    #[test]
    fn a_file_that_is_not_there_is_found() {
        let document = source("docs/cases.md", "| A1 | x | `plane-a/tests/b.rs`, `plane-a/tests/gone.rs` |");
        assert_eq!(cases(&[document, source("crates/plane-a/tests/b.rs", "")]).len(), 1);
    }
}
