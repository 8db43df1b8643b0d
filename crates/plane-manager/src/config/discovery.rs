//! Where instances are announced and found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plane_core::{Address, EndpointId, InstanceId};

use super::check::Check;
use super::names;
use super::problem::{ConfigProblem, ConfigWarning, Findings};
use super::raw::Raw;
use super::values::parse_duration;

const BACKENDS: &str = "mem, static, file or nats";
const LIST: &str = "a list of endpoint=address or endpoint=address#instance separated by commas, for example \
                    dynamo.backend.generate=tcp://10.0.0.1:9000#1f";

const BUCKET: &str = "1 to 200 characters of A-Z a-z 0-9 _ -";
const TTL: &str = "500ms to 1h, as seconds (10, 0.5) or with a unit (500ms, 3s, 2m)";
const TTLS: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(3600);
const DEFAULT_TTL: Duration = Duration::from_secs(10);

/// Where instances are announced and found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryConfig {
    /// In memory: within one manager.
    Mem,
    /// A fixed list.
    Static(Vec<StaticInstance>),
    /// One file per instance in a directory.
    File {
        /// The directory, an absolute path. It is made, with mode 0700, if it is not there.
        directory: PathBuf,
        /// Refuse a directory that another user owns or may use. Set for the default one, whose name can be guessed.
        private: bool,
    },
    /// One key per instance in a bucket on the NATS server of [`NatsSettings`](super::NatsSettings).
    Nats {
        /// The bucket, 1 to 200 characters of `A-Z a-z 0-9 _ -`; one that belongs to the prefix of the subjects if `None`.
        bucket: Option<String>,
        /// How long an instance stays without a renewal, 500 ms to an hour.
        ttl: Duration,
    },
}

impl Default for DiscoveryConfig {
    /// Files in `plane-<uid>` in the system's temporary directory.
    fn default() -> Self {
        Self::user_directory(None)
    }
}

/// One entry of a fixed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StaticInstance {
    /// What it answers.
    pub endpoint: EndpointId,
    /// Where it is.
    pub address: Address,
    /// Which one it is; any that answers there if `None`.
    pub id: Option<InstanceId>,
}

impl DiscoveryConfig {
    /// The directory of this user, which the processes of one user on one machine agree on.
    fn user_directory(runtime_dir: Option<&Path>) -> Self {
        let directory = match runtime_dir.filter(|dir| dir.is_absolute() && dir.is_dir()) {
            Some(dir) => dir.join("plane"),
            None => std::env::temp_dir().join(format!("plane-{}", rustix::process::getuid().as_raw())),
        };
        Self::File { directory, private: true }
    }

    pub(super) fn check(raw: &Raw, findings: &mut Findings) -> Self {
        let list = raw.static_instances.as_deref().map(|text| (text, parse_list(text)));
        if let Some((text, None)) = &list {
            findings.refuse(ConfigProblem::new(names::STATIC_INSTANCES, text, LIST));
        }
        let directory = raw.discovery_dir.as_deref().map(Path::new);
        if let Some(relative) = directory.filter(|directory| directory.is_relative()) {
            let shown = relative.to_string_lossy();
            findings.refuse(ConfigProblem::new(names::DISCOVERY_DIR, &shown, "the absolute path of a directory"));
        }
        let nats = Self::check_nats(raw, findings);
        let backend = raw.discovery_backend.as_deref().unwrap_or("file").to_ascii_lowercase();
        warn_unused(&backend, raw, findings);
        match backend.as_str() {
            "mem" => Self::Mem,
            "nats" => nats,
            "static" => {
                if list.is_none() {
                    let accepted = format!("static only with DYN_STATIC_INSTANCES set to {LIST}");
                    findings.refuse(ConfigProblem::new(names::DISCOVERY_BACKEND, &backend, accepted));
                }
                Self::Static(list.and_then(|(_, list)| list).unwrap_or_default())
            }
            other => {
                if other != "file" {
                    findings.refuse(ConfigProblem::new(names::DISCOVERY_BACKEND, other, BACKENDS));
                }
                directory.map_or_else(
                    || Self::user_directory(raw.xdg_runtime_dir.as_deref().map(Path::new)),
                    |directory| Self::File { directory: directory.to_owned(), private: false },
                )
            }
        }
    }
}

impl DiscoveryConfig {
    fn check_nats(raw: &Raw, findings: &mut Findings) -> Self {
        let mut check = Check::new(findings);
        let bucket = |text: &str| is_bucket(text).then(|| text.to_owned());
        Self::Nats {
            bucket: check.read(names::NATS_BUCKET, &raw.nats_bucket, bucket, BUCKET),
            ttl: check
                .ranged(names::NATS_INSTANCE_TTL, &raw.nats_instance_ttl, parse_duration, TTLS, TTL)
                .unwrap_or(DEFAULT_TTL),
        }
    }
}

fn is_bucket(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn warn_unused(backend: &str, raw: &Raw, findings: &mut Findings) {
    let mut warn = |set: bool, variable, needed| {
        if set && backend != needed {
            findings.warn(ConfigWarning::Unused { variable, unless: names::DISCOVERY_BACKEND, needed });
        }
    };
    warn(raw.static_instances.is_some(), names::STATIC_INSTANCES, "static");
    warn(raw.discovery_dir.is_some(), names::DISCOVERY_DIR, "file");
    warn(raw.nats_bucket.is_some(), names::NATS_BUCKET, "nats");
    warn(raw.nats_instance_ttl.is_some(), names::NATS_INSTANCE_TTL, "nats");
}

fn parse_list(text: &str) -> Option<Vec<StaticInstance>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let list: Vec<StaticInstance> = entries.map(parse_entry).collect::<Option<_>>()?;
    (!list.is_empty()).then_some(list)
}

fn parse_entry(text: &str) -> Option<StaticInstance> {
    let (endpoint, rest) = text.split_once('=')?;
    let (address, id) = match rest.rsplit_once('#') {
        Some((address, id)) => (address, Some(id.parse().ok()?)),
        None => (rest, None),
    };
    Some(StaticInstance { endpoint: endpoint.trim().parse().ok()?, address: address.trim().parse().ok()?, id })
}
