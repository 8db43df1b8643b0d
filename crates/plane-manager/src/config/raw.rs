//! The variables as text, before anything is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::names::{self, KNOWN, REQUEST_PLANE, TCP_SHRINK_MESSAGE_SIZE};
use super::problem::{ConfigProblem, ConfigWarning, Findings};

/// Left out of the names of fields.
const PREFIX: &str = "DYN_";
const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Whoever writes a name that begins so means one of ours.
const OURS: [&str; 2] = ["DYN_TCP_", "DYN_NATS_"];

macro_rules! fields {
    ($($field:ident $constant:ident = $name:literal;)*) => {
        /// The variables that are set to something; each field is the name without `DYN_`, in lower case.
        #[derive(Debug, Default, Deserialize)]
        pub(super) struct Raw {
            $(pub(super) $field: Option<String>,)*
            /// Not ours: where the system wants the files of a user's running programs.
            #[serde(skip)]
            pub(super) xdg_runtime_dir: Option<String>,
        }
    };
}

names::with_variables!(fields);

impl Raw {
    /// Keeps the known variables that are not empty; an unknown one that looks like ours is a warning.
    pub(super) fn read(vars: impl IntoIterator<Item = (String, String)>, findings: &mut Findings) -> Self {
        let mut set = BTreeMap::new();
        let mut xdg_runtime_dir = None;
        for (name, value) in vars {
            let known = KNOWN.iter().copied().find(|known| *known == name);
            match known {
                Some(known) if value.contains(char::REPLACEMENT_CHARACTER) => {
                    findings.refuse(ConfigProblem::new(known, &value, "UTF-8 text"));
                }
                // The last one of a name counts, as in a shell.
                Some(_) if value.trim().is_empty() => drop(set.remove(&name)),
                Some(_) => drop(set.insert(name, value.trim().to_owned())),
                None if name == XDG_RUNTIME_DIR => xdg_runtime_dir = Some(value),
                None => {
                    if let Some(prefix) = OURS.into_iter().find(|prefix| name.starts_with(prefix)) {
                        findings.warn(unknown(name, prefix));
                    }
                }
            }
        }
        let fields = set.into_iter().map(|(name, value)| (name.trim_start_matches(PREFIX).to_owned(), value));
        let raw: Self = envy::from_iter(fields).expect("text without duplicate names always fits optional text");
        Self { xdg_runtime_dir, ..raw }
    }
}

fn unknown(name: String, prefix: &str) -> ConfigWarning {
    let alike = KNOWN.iter().copied().filter(|known| known.starts_with(prefix));
    // A name cut to a sane length: the distance takes time in the product of both lengths.
    let beginning: String = name.chars().take(2 * TCP_SHRINK_MESSAGE_SIZE.len()).collect();
    let nearest = alike.min_by_key(|known| strsim::damerau_levenshtein(known, &beginning)).unwrap_or(REQUEST_PLANE);
    ConfigWarning::UnknownVariable { name, nearest }
}
