//! How much goes out at once.

use plane_core::frame::Flags;

use super::*;

/// Exactly one turn is staged, and a message more waits; with a byte less it goes along.
#[test]
fn a_turn_is_full_to_the_byte() {
    for (room, waits) in [(0, true), (1, false)] {
        let mut pair = Pair::new();
        let calls = [(); 5].map(|()| pair.open(None));
        pair.deliver();
        let [head @ .., last] = &calls;
        let chunk = pair.dialler.max_chunk();
        for call in &head[1..] {
            pair.dialler.send(*call, bytes(chunk), false).expect("there is credit");
        }
        let rest = connection::TURN - room - pair.dialler.outbox.staged() - HEAD_LEN;
        pair.dialler.send(head[0], bytes(rest), false).expect("there is credit");
        assert_eq!(pair.dialler.outbox.staged(), connection::TURN - room);
        pair.dialler.send(*last, bytes(1), false).expect("there is credit");
        assert_eq!(pair.dialler.ready.len(), usize::from(waits));
        let more = if waits { 0 } else { HEAD_LEN + 1 };
        assert_eq!(turn(&mut pair.dialler).len(), connection::TURN - room + more);
        assert_eq!(turn(&mut pair.dialler).len(), HEAD_LEN + 1 - more, "what waited");
    }
}

/// The first of several callers that one read woke is not alone, unless what it sends is worth a write of its own.
#[test]
fn callers_that_are_answered_together_are_not_alone() {
    for (answered, length, alone) in [(1, 1, true), (2, 1, false), (2, 16 * 1024, true)] {
        let mut pair = Pair::new();
        let calls: Vec<_> = (0..answered).map(|_| pair.open(Some(bytes(1)))).collect();
        assert!(calls.iter().all(|call| pair.begin(*call).is_pending()));
        pair.deliver();
        for call in &calls {
            pair.listener.send(*call, bytes(1), true).expect("there is credit");
        }
        pair.reply();
        pair.open(Some(bytes(length)));
        assert_eq!((pair.dialler.in_flight, pair.dialler.is_alone()), (1, alone), "{answered} answered");
    }
}

/// A request of one chunk leaves whole with its OPEN, so that its handler waits for nothing.
#[test]
fn a_request_of_one_chunk_is_one_frame() {
    let mut pair = Pair::new();
    let chunk = pair.dialler.max_chunk();
    for (length, whole) in [(chunk, true), (chunk + 1, false)] {
        let call = pair.open(Some(bytes(length)));
        let opening = turn(&mut pair.dialler);
        let head = Head::decode(&opening).expect("a frame");
        assert_eq!((head.kind, head.call, head.flags.has(Flags::END)), (Kind::OPEN, call, whole), "{length} bytes");
    }
}
