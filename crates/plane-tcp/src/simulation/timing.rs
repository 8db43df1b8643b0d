//! How long things take under virtual time, where no load of the machine blurs it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use plane_core::{Delivery, ErrorKind};

use crate::simulation::record::{Outcome, Record};
use crate::simulation::script::{Answer, CallerScript, HandlerScript, Script};
use crate::simulation::setting::{Ends, Fault};
use crate::simulation::wire::Wire;
use crate::simulation::world::World;

const MS: Duration = Duration::from_millis(1);

fn script(nonce: u64, answer: Answer) -> Script {
    let caller = CallerScript {
        starts: Duration::ZERO,
        astray: false,
        sends: vec![100],
        at_once: true,
        pause: Duration::ZERO,
        breaks_at: None,
        deadline: None,
        request_timeout: 60_000 * MS,
        stops_after: None,
        leaves_after: None,
        leaves_at: None,
    };
    Script { nonce, caller, handler: HandlerScript { reads: usize::MAX, pause: Duration::ZERO, answer } }
}

/// Runs calls with the default settings over wires with this delay and jitter; gives what became of them, and when the
/// last was over.
fn run(scripts: Vec<Script>, wire: (Duration, Duration), faults: Vec<(Duration, Fault)>) -> (Record, Duration) {
    let start = Instant::now();
    let scripts: BTreeMap<u64, Script> = scripts.into_iter().map(|script| (script.nonce, script)).collect();
    let wires = [Wire::with(wire.0, wire.1), Wire::with(wire.0, wire.1)];
    World::with(Rng::with_seed(1), start, Ends::usual(start), scripts, wires, faults).run()
}

fn failed(record: &mut Record, nonce: u64) -> (ErrorKind, Delivery) {
    match &record.of(nonce).outcome {
        Some(Outcome::Failed { kind, delivery, .. }) => (*kind, *delivery),
        other => panic!("call {nonce} did not fail: {other:?}"),
    }
}

/// Threat C10: on a way of 200 ms, give or take 100, calls overlap, and all take little more than one round trip.
#[test]
fn calls_overlap_on_a_slow_way() {
    let scripts = (1..=300).map(|nonce| script(nonce, Answer::Only(100))).collect();
    let (mut record, took) = run(scripts, (100 * MS, 200 * MS), Vec::new());
    for nonce in 1..=300 {
        assert_eq!(record.of(nonce).outcome, Some(Outcome::Complete(1)));
    }
    assert!(took <= 2 * 300 * MS, "{took:?}");
}

/// Threat C10: no keepalive fails there, however long nothing else comes.
#[test]
fn a_slow_way_is_not_taken_for_a_dead_one() {
    let lengths = vec![10; 10];
    let mut quiet = script(1, Answer::Stream { lengths, headers: true, heeds_stop: false });
    quiet.handler.pause = 30_000 * MS;
    let (mut record, took) = run(vec![quiet], (100 * MS, 200 * MS), Vec::new());
    assert_eq!(record.of(1).outcome, Some(Outcome::Complete(10)));
    assert!(took >= 10 * 30_000 * MS);
}

/// A deadline ends a call at its instant, at both ends, although nothing else happens then.
#[test]
fn a_deadline_is_kept_to_the_instant() {
    let mut hangs = script(1, Answer::Hangs);
    hangs.caller.deadline = Some(1_234 * MS);
    let (mut record, took) = run(vec![hangs], (Duration::ZERO, Duration::ZERO), Vec::new());
    assert_eq!(failed(&mut record, 1), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(took, 1_234 * MS);
}

/// A peer that is cut off is given up after the keepalive's 10 s and 5 s, and not before.
#[test]
fn a_peer_that_is_cut_off_is_found_in_time() {
    let cut = [true, false].map(|to_server| (2_000 * MS, Fault::Cut { to_server }));
    let (mut record, took) = run(vec![script(1, Answer::Hangs)], (Duration::ZERO, Duration::ZERO), cut.to_vec());
    assert_eq!(failed(&mut record, 1), (ErrorKind::Disconnected, Delivery::Unknown));
    // The last bytes came with ACCEPT, 100 ms after the start.
    assert!((15_000 * MS..=15_100 * MS).contains(&took), "{took:?}");
}

/// Threat A23: a peer that takes no byte is given up 10 s after there was no more room for any.
#[test]
fn a_peer_that_takes_nothing_is_found_in_time() {
    let mut upload = script(1, Answer::Hangs);
    upload.caller.at_once = false;
    upload.caller.sends = vec![200_000; 10];
    upload.caller.pause = 100 * MS;
    let cut = vec![(250 * MS, Fault::Cut { to_server: true })];
    let (mut record, took) = run(vec![upload], (Duration::ZERO, Duration::ZERO), cut);
    assert_eq!(failed(&mut record, 1), (ErrorKind::Disconnected, Delivery::Unknown));
    // Sooner than the keepalive, which would take 15 s.
    assert!((10_000 * MS..=11_000 * MS).contains(&took), "{took:?}");
}

/// A large message gives way to small ones, but not by waiting a whole way for each of its chunks, which took 1.6 s.
#[test]
fn a_large_message_beside_small_ones_uses_a_long_way() {
    let mut large = script(1, Answer::Only(1));
    large.caller.sends = vec![4 << 20];
    let mut small = script(2, Answer::Echo);
    small.caller.at_once = false;
    small.caller.sends = vec![1; 250];
    small.caller.pause = 2 * MS;
    let (mut record, took) = run(vec![large, small], (25 * MS, Duration::ZERO), Vec::new());
    assert_eq!(record.of(1).outcome, Some(Outcome::Complete(1)));
    assert_eq!(record.of(2).outcome, Some(Outcome::Complete(250)));
    assert!(took <= 1_200 * MS, "{took:?}");
}
