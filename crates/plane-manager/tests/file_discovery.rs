//! Discovery in a directory, between real processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plane_core::{Address, EndpointId, ErrorKind, Instance, InstanceId};
use plane_manager::{Discovery, FileDiscovery, InstanceSet, InstanceWatch, Published};

fn endpoint() -> EndpointId {
    "test.backend.generate".parse().unwrap()
}

fn instance(id: u64) -> Instance {
    let metadata = BTreeMap::from([("model".to_owned(), "m".to_owned())]);
    Instance { endpoint: endpoint(), id: InstanceId::new(id).unwrap(), address: Address::mem("x"), metadata }
}

fn open(directory: &Path) -> FileDiscovery {
    FileDiscovery::open(directory, false).unwrap()
}

/// Waits until the set is as wanted. The bound only turns a hang into a failure.
async fn until(watch: &mut InstanceWatch, wanted: impl FnMut(&InstanceSet) -> bool) -> Vec<u64> {
    let set = tokio::time::timeout(Duration::from_secs(20), watch.wait_for(wanted)).await.expect("in time").unwrap();
    set.iter().map(|instance| instance.id.get()).collect()
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn instances_come_and_go_between_backends() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (open(directory.path()), open(directory.path()));
    let mut watch = there.watch(&endpoint());
    let mut all = there.watch_all();
    let other = there.watch(&"test.backend.other".parse().unwrap());
    let one = here.publish(instance(1)).await.unwrap();
    assert_eq!(there.list().await.unwrap(), [instance(1)]);
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [1]);
    let two = here.publish(instance(2)).await.unwrap();
    assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 2]);
    assert_eq!(watch.borrow()[1], instance(2));
    drop(one);
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [2]);
    assert_eq!(until(&mut all, |set| set.len() == 1).await, [2]);
    two.withdraw();
    until(&mut watch, |set| set.is_empty()).await;
    assert!(!other.has_changed().unwrap());
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn what_is_announced_here_is_seen_here_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let discovery = open(directory.path());
    let watch = discovery.watch(&endpoint());
    let one = discovery.publish(instance(1)).await.unwrap();
    assert_eq!(watch.borrow().len(), 1);
    let again = discovery.publish(instance(1)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    drop(one);
    assert_eq!(watch.borrow().len(), 0);
}

/// A withdrawn instance does not come back, however scans and withdrawals meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_instance_stays_away() {
    let directory = tempfile::tempdir().unwrap();
    let discovery = open(directory.path());
    let watch = discovery.watch(&endpoint());
    for id in 1..200 {
        let published: Published = discovery.publish(instance(id)).await.unwrap();
        drop(published);
        assert_eq!(watch.borrow().len(), 0);
        tokio::task::yield_now().await;
        assert_eq!(watch.borrow().len(), 0, "instance {id}");
    }
}

/// Not a test of its own: the process that `a_killed_process_disappears` starts and kills. It serves in its working
/// directory until its standard input ends.
#[ignore = "a process that another test starts"]
#[tokio::test]
async fn a_process_that_announces() {
    let discovery = open(&std::env::current_dir().unwrap());
    let _published = discovery.publish(instance(u64::from(std::process::id()))).await.unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

fn start(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "a_process_that_announces"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_killed_process_disappears() {
    let directory = tempfile::tempdir().unwrap();
    let discovery = open(directory.path());
    let mut watch = discovery.watch(&endpoint());
    let (mut killed, mut ended) = (start(directory.path()), start(directory.path()));
    until(&mut watch, |set| set.len() == 2).await;
    killed.kill().unwrap();
    // Not reaped yet: a dead process that its parent has not noticed is dead all the same.
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [u64::from(ended.id())]);
    assert_eq!(files(directory.path()), 1);
    killed.wait().unwrap();
    drop(ended.stdin.take());
    until(&mut watch, |set| set.is_empty()).await;
    assert!(ended.wait().unwrap().success());
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn hostile_files_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let discovery = open(path);
    let mut watch = discovery.watch(&endpoint());
    let good = discovery.publish(instance(1)).await.unwrap();
    let good_file = fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
    let text = fs::read(&good_file).unwrap();
    for (name, content) in [
        ("empty.json", &b""[..]),
        ("binary.json", b"\xff\x00\xfe"),
        ("array.json", b"[1,2,3]"),
        ("cut.json", &text[..text.len() / 2]),
        ("another-name.json", &text),
        ("..json", &text),
        ("deep.json", &[b'['; 60_000]),
        ("huge.json", &vec![b' '; 1 << 20]),
    ] {
        fs::write(path.join(name), content).unwrap();
    }
    fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff\xfe.json")), &text).unwrap();
    fs::create_dir(path.join("directory.json")).unwrap();
    symlink(&good_file, path.join("test.backend.generate.0000000000000002.json")).unwrap();
    symlink("/dev/zero", path.join("endless.json")).unwrap();
    assert!(Command::new("mkfifo").arg(path.join("pipe.json")).status().unwrap().success());
    assert_eq!(discovery.list().await.unwrap(), [instance(1)]);
    // The watch lives on as well: it sees what comes after all of that.
    let other = open(path);
    let _two = other.publish(instance(3)).await.unwrap();
    assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 3]);
    drop(good);
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [3]);
}

#[tokio::test]
async fn a_deleted_directory_comes_back_with_what_is_announced() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("plane");
    let (here, there) = (open(&path), open(&path));
    let mut watch = there.watch(&endpoint());
    let _one = here.publish(instance(1)).await.unwrap();
    until(&mut watch, |set| set.len() == 1).await;
    fs::remove_dir_all(&path).unwrap();
    until(&mut watch, |set| set.is_empty()).await;
    assert_eq!(until(&mut watch, |set| set.len() == 1).await, [1]);
    let _two = here.publish(instance(2)).await.unwrap();
    assert_eq!(until(&mut watch, |set| set.len() == 2).await, [1, 2]);
}

/// Not a test of its own: the process that `a_full_disk_is_an_error_and_leaves_nothing` starts where no file may have a byte.
#[ignore = "a process that another test starts"]
#[tokio::test]
async fn a_process_without_room_on_its_disk() {
    let discovery = open(&std::env::current_dir().unwrap());
    let error = discovery.publish(instance(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("DYN_DISCOVERY_DIR"), "{error}");
}

/// A limit on the size of files stands in for a disk without room: it needs no rights, and writing fails as it does there.
#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let discovery = open(directory.path());
    let test = "a_process_without_room_on_its_disk";
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", test]).current_dir(directory.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Nothing half is left for others to read.
    assert_eq!(files(directory.path()), 0);
    assert_eq!(discovery.list().await.unwrap(), []);
}

#[tokio::test]
async fn too_much_metadata_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut large = instance(1);
    large.metadata.insert("key".to_owned(), "x".repeat(64 * 1024));
    let error = open(directory.path()).publish(large).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(files(directory.path()), 0);
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/none".into()] {
        let error = FileDiscovery::open(&path, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("DYN_DISCOVERY_DIR"), "{error}");
    }
}

#[test]
fn a_private_directory_is_closed_to_others() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep").join("plane");
    FileDiscovery::open(&path, true).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(FileDiscovery::open(&path, true).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(FileDiscovery::open(&path, false).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let link = parent.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(FileDiscovery::open(&link, true).unwrap_err().kind(), ErrorKind::PermissionDenied);
}
