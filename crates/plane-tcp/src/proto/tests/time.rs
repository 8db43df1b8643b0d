//! What time does, to the instant.

use plane_core::frame::encode_accept;

use super::peer::frame;
use super::*;

const NEVER_IDLE: Duration = Duration::from_secs(3600);

/// With the default settings: a ping after 10 s, 5 s to answer it, idle after 300 s.
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_nanos(1);

#[test]
fn a_quiet_peer_is_asked_and_given_up() {
    let Pair { now, mut dialler, .. } = Pair::new();
    assert_eq!(dialler.next_timeout(), now + INTERVAL);
    dialler.handle_timeout(now + INTERVAL - TICK).expect("it is not time");
    assert_eq!(frames(&mut dialler), []);
    dialler.handle_timeout(now + INTERVAL).expect("it is asked first");
    assert_eq!(frames(&mut dialler), [(Kind::PING, 0)]);
    assert_eq!(dialler.next_timeout(), now + INTERVAL + TIMEOUT);
    dialler.handle_timeout(now + INTERVAL + TIMEOUT - TICK).expect("it may still answer");
    assert_eq!(frames(&mut dialler), [], "it is asked once");
    let failure = dialler.handle_timeout(now + INTERVAL + TIMEOUT).expect_err("it did not answer");
    assert_eq!((failure.kind, failure.tell), (ErrorKind::Disconnected, None));
}

#[test]
fn a_sign_of_life_begins_the_time_anew() {
    let Pair { now, mut dialler, .. } = Pair::new();
    dialler.handle_timeout(now + INTERVAL).expect("it is asked first");
    let heard = now + INTERVAL + TIMEOUT - TICK;
    dialler.note_received(heard);
    assert_eq!(dialler.next_timeout(), heard + INTERVAL);
    dialler.handle_timeout(heard + INTERVAL - TICK).expect("it lives");
    assert_eq!(frames(&mut dialler), [(Kind::PING, 0)], "only the first");
}

#[test]
fn a_connection_without_calls_is_closed_in_time() {
    let Pair { now, mut dialler, .. } = Pair::new();
    dialler.note_received(now + IDLE - TICK);
    assert_eq!(dialler.next_timeout(), now + IDLE);
    dialler.handle_timeout(now + IDLE - TICK).expect("it is not time");
    let failure = dialler.handle_timeout(now + IDLE).expect_err("it was idle");
    assert_eq!((failure.kind, failure.tell), (ErrorKind::Unavailable, Some(plane_core::Code::OK)));
}

/// The time counts from the first look without a call.
#[test]
fn a_call_keeps_its_connection() {
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    let later = pair.now + 2 * IDLE;
    for side in [&mut pair.dialler, &mut pair.listener] {
        side.note_received(later);
        side.handle_timeout(later).expect("a call is in flight");
    }
    pair.listener.send(call, bytes(1), true).expect("within the limit");
    pair.listener.handle_timeout(later).expect("it is idle from now on");
    pair.listener.note_received(later + IDLE);
    pair.listener.handle_timeout(later + IDLE - TICK).expect("it is not time");
    pair.listener.handle_timeout(later + IDLE).expect_err("it was idle");
}

/// A side that hears and says nothing says a word each half interval, so that it is not taken for dead.
#[test]
fn a_side_that_only_listens_says_a_word() {
    let half = INTERVAL / 2;
    let mut pair = Pair::new();
    let call = pair.open(None);
    pair.hear(&frame(|out| encode_accept(out, call))).expect("a correct peer");
    let Pair { now, mut dialler, .. } = pair;
    assert_eq!(dialler.next_timeout(), now);
    written(&mut dialler);
    let mut look = |at: Instant, heard: Instant| {
        dialler.note_received(heard);
        dialler.handle_timeout(at).expect("it lives");
        frames(&mut dialler).len()
    };
    assert_eq!(look(now, now), 0, "the OPEN was a word");
    assert_eq!(look(now + half - TICK, now + half - TICK), 0, "it is not time");
    assert_eq!(look(now + half, now + TICK), 1);
    assert_eq!(look(now + 2 * half, now + 2 * half), 0, "the ping was a word");
    assert_eq!(look(now + 3 * half, now + 2 * half), 0, "nothing is heard: the keepalive asks when it is time");
    assert_eq!(look(now + 4 * half - TICK, now + 4 * half - TICK), 0, "it is not time");
    assert_eq!(look(now + 4 * half, now + 4 * half), 1);
}

#[test]
fn a_side_without_calls_says_no_word() {
    let Pair { now, mut dialler, .. } = Pair::new();
    dialler.clock.said = false;
    for half in 0..10 {
        let at = now + half * INTERVAL / 2;
        dialler.note_received(at);
        dialler.handle_timeout(at).expect("it lives");
        assert_eq!(frames(&mut dialler), []);
    }
}

/// A peer that has closed its half is asked at each look, and given up as any other is.
#[test]
fn a_peer_that_closed_its_half_is_given_up() {
    let Pair { now, mut listener, .. } = Pair::new();
    listener.handle_half_closed(now + INTERVAL + TIMEOUT - TICK, now).expect("it is not time");
    assert_eq!(frames(&mut listener), [(Kind::PING, 0)]);
    let failure = listener.handle_half_closed(now + INTERVAL + TIMEOUT, now).expect_err("no sign of life");
    assert_eq!((failure.kind, failure.tell), (ErrorKind::Disconnected, None));
}

/// Only what is due before the timer fires anyway makes its driver look again.
#[test]
fn only_an_earlier_time_wakes_the_driver() {
    let Pair { now, mut dialler, .. } = Pair::new();
    dialler.note_due(Some(now + TICK));
    assert!(!dialler.needs_timer(), "the driver has not looked yet");
    let Pair { now, mut dialler, .. } = Pair::new();
    assert_eq!(dialler.arm_timer(), now + INTERVAL);
    for (due, wakes) in [(None, false), (Some(INTERVAL + TICK), false), (Some(INTERVAL), false), (Some(TICK), true)] {
        dialler.note_due(due.map(|due| now + due));
        assert_eq!(dialler.needs_timer(), wakes, "{due:?}");
    }
    assert_eq!(dialler.arm_timer(), now + TICK);
    assert!(!dialler.needs_timer());
}

#[test]
fn a_handler_that_takes_its_time_is_announced() {
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    let at = pair.now + Duration::from_millis(100);
    pair.listener.notice_at(call, at);
    pair.listener.handle_due(at - TICK);
    assert_eq!(frames(&mut pair.listener), []);
    pair.listener.handle_due(at);
    assert_eq!(frames(&mut pair.listener), [(Kind::ACCEPT, call)]);
    pair.listener.handle_due(at + NEVER_IDLE);
    assert_eq!(frames(&mut pair.listener), [], "once");
}

#[test]
fn an_answer_needs_no_announcement() {
    let mut pair = Pair::new();
    let at = pair.now + Duration::from_millis(100);
    let [answered, begun, ended] = [(); 3].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    pair.listener.notice_at(answered, at);
    pair.listener.notice_at(begun, at);
    pair.listener.send(answered, bytes(1), false).expect("within the limit");
    pair.listener.begin(begun, &Headers::new());
    pair.listener.send(ended, bytes(1 << 21), true).expect("within the limit");
    pair.listener.notice_at(ended, at);
    while pair.listener.wants_to_write() {
        written(&mut pair.listener);
    }
    pair.listener.handle_due(at);
    assert_eq!(frames(&mut pair.listener), []);
}

/// A handler whose time is over is told so at that instant and not before, and its caller hears of it.
#[test]
fn a_deadline_ends_a_handler_to_the_instant() {
    let mut pair = Pair::new();
    let deadline = pair.now + Duration::from_millis(50);
    let opening = Opening {
        endpoint: &pair.endpoint,
        instance: None,
        headers: &Headers::new(),
        deadline: Some(deadline),
        accept_by: pair.now + ACCEPT,
        reader: None,
        only: Some(&bytes(1)),
    };
    let call = pair.dialler.open(pair.now, opening).expect("there is room");
    pair.deliver();
    let context = pair.listener.opened.pop().expect("it is taken on").context;
    pair.listener.handle_due(deadline - TICK);
    assert_eq!(context.abort_reason(), None);
    pair.listener.handle_due(deadline);
    assert_eq!(context.abort_reason(), Some(plane_core::AbortReason::DeadlineExceeded));
    pair.listener.send(call, bytes(1), true).expect_err("its answer is cut");
    pair.listener.finish(call, Ending::orderly());
    assert_eq!(frames(&mut pair.listener), [(Kind::END, call)]);
    pair.dialler.handle_due(deadline - TICK);
    assert!(pair.begin(call).is_pending());
    pair.dialler.handle_due(deadline);
    let Poll::Ready(Err(error)) = pair.begin(call) else { panic!("its time is over") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(frames(&mut pair.dialler), [(Kind::CANCEL, call)]);
}

/// Time has nothing to do any more with a call that nobody waits for, nor with one that has ended and is not read yet.
#[test]
fn a_call_that_is_over_asks_nothing_of_time() {
    for abandoned in [true, false] {
        let mut pair = Pair::new();
        let call = pair.open(Some(bytes(1)));
        pair.deliver();
        assert_eq!(pair.dialler.next_timeout(), pair.now, "the first word");
        pair.dialler.handle_timeout(pair.now).expect("a connection that lives");
        assert_eq!(pair.dialler.next_timeout(), pair.now + ACCEPT);
        if abandoned {
            pair.dialler.abandon(call, plane_core::Code::CANCELLED);
        } else {
            let error = plane_core::Error::new(ErrorKind::Cancelled, Delivery::Unknown, "ended here");
            pair.dialler.fail_call(call, error);
        }
        assert_eq!(pair.dialler.calls[&call].due(), None);
        written(&mut pair.dialler);
        pair.dialler.handle_timeout(pair.now + ACCEPT).expect("a connection that lives");
        assert_eq!(frames(&mut pair.dialler), [], "it was told before");
        assert_eq!(pair.dialler.clock.next_due, None);
    }
}
