//! What this side opens and sends up to a limit, and not beyond it.

use http::{HeaderName, HeaderValue};
use plane_core::Code;
use plane_core::frame::{GoAway, block_len};

use super::*;

#[test]
fn calls_are_opened_up_to_the_other_sides_limit() {
    let mut pair = Pair::new();
    pair.dialler.theirs.max_calls = 2;
    let calls = [(); 2].map(|()| pair.open(Some(bytes(1))));
    assert_eq!(calls, [1, 3]);
    assert_eq!(pair.try_open(&Headers::new(), None), Err(OpenError::Full));
    assert!(!pair.dialler.has_backlog(), "it is full for another reason");
    pair.deliver();
    pair.listener.send(1, bytes(1), true).expect("within the limit");
    pair.reply();
    assert_eq!(pair.open(None), 5);
}

#[test]
fn requests_wait_for_the_writer_up_to_the_queues_length() {
    let mut pair = Pair::new();
    assert_eq!(pair.dialler.queued(), 0);
    pair.open(None);
    assert_eq!(pair.dialler.queued(), 1, "the first counts as any other");
    pair.deliver();
    pair.dialler.settings.queue = 2;
    for queued in 0..2 {
        assert_eq!((pair.dialler.queued(), pair.dialler.has_backlog()), (queued, false));
        pair.open(None);
    }
    assert_eq!((pair.dialler.queued(), pair.dialler.has_backlog()), (2, true));
    assert_eq!(pair.try_open(&Headers::new(), None), Err(OpenError::Full));
    pair.dialler.theirs.max_calls = 3;
    assert!(!pair.dialler.has_backlog(), "room in the queue would not be enough");
    pair.dialler.theirs.max_calls = 4;
    assert!(pair.dialler.has_backlog());
    pair.dialler.retired = true;
    assert!(!pair.dialler.has_backlog(), "it opens nothing more");
    pair.dialler.retired = false;
    pair.deliver();
    assert_eq!((pair.dialler.queued(), pair.dialler.has_room()), (0, true));
}

#[test]
fn a_connection_with_enough_to_write_takes_no_call() {
    let mut pair = Pair::new();
    pair.open(Some(bytes(1000)));
    pair.dialler.settings.unwritten = pair.dialler.outbox.staged() + 1;
    assert!(pair.dialler.has_room());
    for unwritten in [0, 1] {
        pair.dialler.settings.unwritten = pair.dialler.outbox.staged() - unwritten;
        assert_eq!(pair.try_open(&Headers::new(), None), Err(OpenError::Full));
    }
    pair.deliver();
    assert!(pair.dialler.has_room());
}

#[test]
fn a_connection_that_ends_takes_no_call() {
    let closing = |end: &dyn Fn(&mut Connection)| {
        let mut pair = Pair::new();
        end(&mut pair.dialler);
        assert_eq!(pair.try_open(&Headers::new(), None), Err(OpenError::Closing));
    };
    closing(&|dialler| dialler.go_away(Code::OK, "done", Duration::ZERO));
    closing(&|dialler| dialler.fail(Failure::new(ErrorKind::Disconnected, "lost")));
    let refused = GoAway { last_call: 0, code: Code::OK, grace: Duration::ZERO, text: String::new() };
    closing(&|dialler| dialler.refused_by = Some(refused.clone()));
}

#[test]
fn what_no_server_of_these_limits_takes_is_not_sent() {
    let mut pair = Pair::new();
    pair.dialler.theirs.max_message = 10;
    assert_eq!(pair.try_open(&Headers::new(), Some(bytes(11))), Err(OpenError::TooLarge { limit: 10 }));
    pair.open(Some(bytes(10)));
    let mut headers = Headers::new();
    headers.append(HeaderName::from_static("x"), HeaderValue::from_static("value"));
    let block = block_len(&headers);
    for (room, expected) in
        [(block - 1, Err(OpenError::HeadersTooLarge { limit: block - 1 })), (block, Ok(3)), (block + 1, Ok(5))]
    {
        pair.dialler.settings.headers.bytes = room;
        assert_eq!(pair.try_open(&headers, None), expected);
    }
}

#[test]
fn a_message_over_either_sides_limit_is_not_sent() {
    let mut pair = Pair::new();
    let call = pair.open(None);
    pair.dialler.theirs.max_message = 10;
    assert_eq!(pair.dialler.send(call, bytes(11), false), Err(SendError::TooLarge { limit: 10 }));
    assert_eq!(pair.dialler.send(call, bytes(10), false), Ok(()));
    pair.dialler.finish(call, Ending::orderly());
    assert_eq!(pair.dialler.send(call, bytes(1), false), Err(SendError::Closed));
}
