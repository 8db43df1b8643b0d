//! What the documents point at.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::Source;

/// Links from one document to another file of the checkout must lead somewhere, heading included.
pub(super) fn relative(sources: &[Source]) -> Vec<String> {
    let documents = sources.iter().filter(|source| source.path.ends_with(".md"));
    documents.flat_map(|document| dead_links(document, sources)).collect()
}

fn dead_links(document: &Source, sources: &[Source]) -> Vec<String> {
    let links =
        links_of(&document.text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    links
        .filter_map(|link| {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.path.clone() } else { resolve(&document.path, path) };
            let found = sources.iter().find(|source| source.path == target);
            let is_folder = sources.iter().any(|source| Path::new(&source.path).starts_with(&target));
            let problem = match found {
                Some(found) if heading.is_empty() || headings(&found.text).contains(heading) => return None,
                Some(_) => "there is no such heading",
                None if is_folder => return None,
                None => "there is no such file",
            };
            Some(format!("{}: ({link}): {problem}", document.path))
        })
        .collect()
}

/// The targets of `[text](target)` outside of code blocks.
fn links_of(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut links = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let after = line.match_indices("](").map(|(at, opening)| &line[at + opening.len()..]);
        links.extend(after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target));
    }
    links
}

/// The path from the root that a link in `document` means.
fn resolve(document: &str, link: &str) -> String {
    let mut path = Path::new(document).parent().map(PathBuf::from).unwrap_or_default();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => _ = path.pop(),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().replace('\\', "/")
}

/// The headings of a document as they stand in links.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn dead_links_are_found_and_good_ones_are_not() {
        let text = "[a](docs/b.md) [c](docs/b.md#the-one-place) [d](#here) [e](https://x.org/y) [f](docs)\n# Here\n\
            ```\n[code](no.md)\n```\n";
        let target = source("docs/b.md", "## The one `place`\n[up](../README.md)");
        assert_eq!(relative(&[source("README.md", text), target]), Vec::<String>::new());
        let dead = source("docs/c.md", "[a](b.md) [b](../no/d.md) [c](#nowhere)");
        assert_eq!(relative(&[dead]).len(), 3);
    }
}
