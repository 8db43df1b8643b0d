//! How a connection ends, and what becomes of its calls.

use plane_core::Code;
use plane_core::frame::{Flags, GoAway, encode_end, encode_go_away};

use super::peer::{frame, message, told};
use super::*;

/// An orderly END after this many messages, with these trailers.
fn orderly(call: u64, count: u64, trailers: &Headers) -> Vec<u8> {
    frame(|out| encode_end(out, call, Flags::NONE, count, None, Some(trailers))).to_vec()
}

fn trailers() -> Headers {
    Headers::from_iter([("spent".parse().expect("a name"), "1".parse().expect("a value"))])
}

/// An answer of which a message is missing, or has come too often, never looks whole; one that is keeps its trailers.
#[test]
fn an_answer_must_have_as_many_messages_as_its_end_says() {
    let mut pair = Pair::new();
    for (count, came) in [(1, 1), (2, 1), (1, 2), (0, 1), (1, 0)] {
        let call = pair.open(None);
        pair.deliver();
        for _ in 0..came {
            pair.hear(&message(call, Flags::NONE, 1)).expect("within the window");
        }
        pair.hear(&orderly(call, count, &trailers())).expect("it ends the call alone");
        let mut ahead = VecDeque::new();
        let mut next = || pair.dialler.poll_more(call, &mut ahead, &Context::from_waker(Waker::noop()));
        for _ in 0..came {
            assert!(matches!(next(), Poll::Ready(Next::Message(_))));
        }
        match next() {
            Poll::Ready(Next::End(Some(kept))) => assert_eq!((count, kept), (came, trailers())),
            Poll::Ready(Next::Failed(error)) => {
                assert_eq!((error.kind(), count == came), (ErrorKind::Truncated, false))
            }
            other => panic!("{count} of {came}: {other:?}"),
        }
    }
}

/// The same of a request; who miscounts his own request speaks another protocol.
#[test]
fn a_request_must_have_as_many_messages_as_its_end_says() {
    let mut pair = Pair::new();
    let [whole, bare, short] = [(); 3].map(|()| {
        let call = pair.open(None);
        pair.dialler.send(call, bytes(1), false).expect("there is credit");
        call
    });
    pair.deliver();
    pair.listen(&orderly(whole, 1, &trailers())).expect("a whole one");
    pair.listen(&orderly(bare, 1, &Headers::new())).expect("a whole one");
    for call in [whole, bare] {
        assert!(matches!(pair.next(call), Poll::Ready(Next::Message(_))));
    }
    assert!(matches!(pair.next(whole), Poll::Ready(Next::End(Some(kept))) if kept == trailers()));
    assert!(matches!(pair.next(bare), Poll::Ready(Next::End(None))));
    assert_eq!(told(pair.listen(&orderly(short, 2, &Headers::new()))), Some(Code::PROTOCOL));
}

/// A GOAWAY ends the calls after the one that it names, and those alone.
#[test]
fn calls_that_a_drain_names_go_on() {
    let mut pair = Pair::new();
    let calls = [(); 3].map(|()| pair.open(None));
    pair.deliver();
    let go_away = GoAway { last_call: calls[1], code: Code::OK, grace: Duration::ZERO, text: String::new() };
    let go_away = frame(|out| encode_go_away(out, &go_away));
    pair.hear(&go_away).expect("a correct peer");
    assert!(pair.begin(calls[0]).is_pending() && pair.begin(calls[1]).is_pending());
    let Poll::Ready(Err(error)) = pair.begin(calls[2]) else { panic!("it is not looked at") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unavailable, Delivery::NotExecuted));
    assert_eq!(pair.dialler.in_flight, 2);
    assert!(!pair.dialler.is_finished());
    pair.listener.finish(calls[0], Ending::orderly());
    pair.listener.finish(calls[1], Ending::orderly());
    pair.reply();
    pair.dialler.finish(calls[0], Ending::orderly());
    written(&mut pair.dialler);
    assert!(pair.dialler.is_finished(), "nothing is left, and nothing more comes");
}

/// A retired connection is finished once its calls are, and what it has to say is written.
#[test]
fn a_connection_is_finished_when_nothing_is_left() {
    let mut pair = Pair::new();
    assert!(!pair.listener.is_finished() && !pair.listener.answers_calls());
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    assert!(pair.listener.answers_calls() && !pair.dialler.answers_calls());
    pair.listener.go_away(Code::OK, "drain", Duration::ZERO);
    pair.listener.go_away(Code::OK, "again", Duration::ZERO);
    assert_eq!(frames(&mut pair.listener), [(Kind::GOAWAY, 0)], "once");
    assert!(!pair.listener.is_finished(), "a call is in flight");
    pair.listener.send(call, bytes(1), true).expect("within the limit");
    assert!(!pair.listener.is_finished() && !pair.listener.answers_calls(), "its answer is not written");
    pair.reply();
    assert!(pair.listener.is_finished() && !pair.dialler.is_finished());
}

/// A half that is closed cuts the requests that had not ended, and no others.
#[test]
fn a_closed_half_cuts_requests() {
    let mut pair = Pair::new();
    let [whole, cut] = [true, false].map(|end| {
        let call = pair.open(None);
        pair.dialler.send(call, bytes(1), end).expect("there is credit");
        call
    });
    pair.deliver();
    pair.listener.half_close();
    for call in [whole, cut] {
        assert!(matches!(pair.next(call), Poll::Ready(Next::Message(_))));
    }
    assert!(matches!(pair.next(whole), Poll::Ready(Next::End(None))));
    assert!(matches!(pair.next(cut), Poll::Ready(Next::Failed(error)) if error.kind() == ErrorKind::Truncated));
}

/// How far a call got is known from its answer, from what was written, and from a GOAWAY.
#[test]
fn a_lost_connection_says_how_far_each_call_got() {
    let mut pair = Pair::new();
    let [begun, named, refused] = [(); 3].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    let staged = pair.open(Some(bytes(1)));
    pair.listener.begin(begun, &Headers::new());
    pair.reply();
    pair.dialler.refused_by =
        Some(GoAway { last_call: named, code: Code::OK, grace: Duration::ZERO, text: String::new() });
    for (call, delivery) in [
        (begun, Delivery::Executed),
        (named, Delivery::Unknown),
        (refused, Delivery::NotExecuted),
        (staged, Delivery::NotSent),
    ] {
        assert_eq!(pair.dialler.delivery(call), delivery);
    }
}
