//! Signs of life of processes that cannot be looked up.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use plane_core::{Address, Instance, InstanceId};

use super::process::Process;
use super::record::Record;
use super::scan::{SILENCE, Scanner};

/// A record of a process in another container, last heard of this long ago.
fn write(directory: &Path, id: u64, silent: Duration) {
    let endpoint = "test.backend.generate".parse().unwrap();
    let (id, address) = (InstanceId::new(id).unwrap(), Address::mem("x"));
    let instance = Instance { endpoint, id, address, metadata: BTreeMap::new() };
    let process = serde_json::from_str(r#"{"pid":1,"started":1,"origin":"elsewhere"}"#).unwrap();
    let name = Record::file_name(&instance);
    Record { instance, process, publisher: 1 }.write(directory).unwrap();
    let file = File::options().write(true).open(directory.join(name)).unwrap();
    file.set_modified(SystemTime::now() - silent).unwrap();
}

#[test]
fn a_process_elsewhere_lives_while_it_shows_signs_of_life() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 1, Duration::ZERO);
    write(directory.path(), 2, SILENCE + Duration::from_secs(1));
    write(directory.path(), 3, Duration::from_secs(3600));
    let mut scanner = Scanner::new(directory.path().to_owned());
    for _ in 0..2 {
        let found: Vec<u64> = scanner.scan().unwrap().keys().map(|(_, id)| id.get()).collect();
        assert_eq!(found, [1]);
    }
    // The silent one may come back, the forgotten one is removed.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    write(directory.path(), 2, Duration::ZERO);
    assert_eq!(scanner.scan().unwrap().len(), 2);
}

#[test]
fn a_record_reads_back() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = "test.backend.generate".parse().unwrap();
    let metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let instance = Instance { endpoint, id: InstanceId::new(7).unwrap(), address: Address::mem("x"), metadata };
    let record = Record { instance, process: Process::current(), publisher: u64::MAX };
    record.write(directory.path()).unwrap();
    let name = Record::file_name(&record.instance);
    assert_eq!(Record::read(&directory.path().join(&name), &name).unwrap(), record);
}
