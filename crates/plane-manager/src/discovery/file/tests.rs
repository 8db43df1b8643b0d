//! Processes and directories as they are not met every day.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use plane_core::{Address, Health, Instance, InstanceId};

use super::process::Process;
use super::record::Record;
use super::scan::{SILENCE, Scanner};
use super::shared::Shared;

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
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
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

#[test]
fn what_was_known_stays_while_the_directory_cannot_be_read() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("plane");
    fs::create_dir(&path).unwrap();
    write(&path, 1, Duration::ZERO);
    let (shared, mut scanner) = (Shared::new(path.clone()), Scanner::new(path.clone()));
    let watch = shared.watch(&"test.backend.generate".parse().unwrap());
    shared.apply(scanner.scan());
    assert_eq!((shared.health(), watch.borrow().len()), (Health::Ready, 1));
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "").unwrap();
    shared.apply(scanner.scan());
    let Health::Degraded(trouble) = shared.health() else { panic!("not degraded") };
    assert!(trouble.contains(path.to_str().unwrap()), "{trouble}");
    assert_eq!(watch.borrow().len(), 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    shared.apply(scanner.scan());
    assert_eq!((shared.health(), watch.borrow().len()), (Health::Ready, 0));
}
