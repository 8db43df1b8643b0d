//! What frames of the other side do with a call, and what they may not.

use plane_core::frame::{Cancel, Flags, encode_accept, encode_cancel, encode_headers, encode_ping, encode_pong};
use plane_core::{AbortReason, Code};

use super::peer::{frame, message, told};
use super::*;
use crate::config::Rate;
use crate::proto::budget::Budget;

/// A budget of two.
fn few(now: Instant) -> Budget {
    Budget::new(Rate { at_once: 2, per_second: 1 }, now)
}

/// A ping is answered and counted; an answer is a sign of life and costs nothing.
#[test]
fn pings_are_answered_up_to_their_budget() {
    let mut pair = Pair::new();
    pair.listener.budgets.pings = few(pair.now);
    pair.listener.budgets.strays = few(pair.now);
    for _ in 0..10 {
        pair.listen(&frame(|out| encode_pong(out, *b"keepaliv"))).expect("a sign of life");
    }
    let ping = frame(|out| encode_ping(out, *b"12345678"));
    for _ in 0..2 {
        pair.listen(&ping).expect("within the budget");
        assert_eq!(written(&mut pair.listener), frame(|out| encode_pong(out, *b"12345678")));
    }
    assert_eq!(told(pair.listen(&ping)), Some(Code::ENHANCE_YOUR_CALM));
}

/// The first stop, the first abort, the first ACCEPT do something; each further one is a frame without effect.
#[test]
fn what_is_said_again_has_no_effect_and_is_counted() {
    for again in [Cancel::Stop, Cancel::Abort(Code::CANCELLED)] {
        let mut pair = Pair::new();
        let call = pair.open(Some(bytes(1)));
        pair.deliver();
        pair.listener.budgets.strays = few(pair.now);
        let cancel = frame(|out| encode_cancel(out, call, again));
        for _ in 0..3 {
            pair.listen(&cancel).expect("once, and two without effect");
        }
        assert_eq!(told(pair.listen(&cancel)), Some(Code::ENHANCE_YOUR_CALM), "{again:?}");
        let context = pair.listener.opened.pop().expect("it was taken on").context;
        let aborted = context.abort_reason().is_some();
        assert_eq!((context.is_stopped(), aborted), (true, again != Cancel::Stop));
    }
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    pair.dialler.budgets.strays = few(pair.now);
    let accept = frame(|out| encode_accept(out, call));
    for _ in 0..3 {
        pair.hear(&accept).expect("once, and two without effect");
    }
    assert_eq!(told(pair.hear(&accept)), Some(Code::ENHANCE_YOUR_CALM));
    assert_eq!(told(pair.listen(&accept)), Some(Code::PROTOCOL), "only a server accepts");
}

/// To abort calls whose answer has begun is honest work; to open calls for nothing is counted.
#[test]
fn aborts_before_an_answer_are_counted() {
    for (begun, ends) in [(true, true), (false, false)] {
        let mut pair = Pair::new();
        pair.listener.budgets.cancels = few(pair.now);
        let calls = [(); 3].map(|()| pair.open(Some(bytes(1))));
        pair.deliver();
        let heard = calls.map(|call| {
            if begun {
                pair.listener.begin(call, &Headers::new());
            }
            pair.listen(&frame(|out| encode_cancel(out, call, Cancel::Abort(Code::CANCELLED))))
        });
        let [first, second, third] = heard;
        assert!(first.is_ok() && second.is_ok());
        if ends { third.expect("honest work") } else { assert_eq!(told(third), Some(Code::ENHANCE_YOUR_CALM)) }
    }
}

/// A call that is answered gives one abort back; one that was aborted does not.
#[test]
fn answered_calls_earn_aborts() {
    let mut pair = Pair::new();
    let [answered, aborted] = [(); 2].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    pair.listener.budgets.cancels = few(pair.now);
    (0..2).for_each(|_| assert!(pair.listener.budgets.cancels.spend(pair.now)));
    pair.listener.send(answered, bytes(1), true).expect("within the limit");
    assert!(pair.listener.budgets.cancels.spend(pair.now));
    pair.listener.begin(aborted, &Headers::new());
    pair.listen(&frame(|out| encode_cancel(out, aborted, Cancel::Abort(Code::CANCELLED)))).expect("honest work");
    pair.listener.finish(aborted, Ending::orderly());
    assert!(!pair.listener.budgets.cancels.spend(pair.now));
}

#[test]
fn an_abort_says_why() {
    for (code, reason) in [
        (Code::DEADLINE_EXCEEDED, AbortReason::DeadlineExceeded),
        (Code::CANCELLED, AbortReason::Cancelled),
        (Code(999), AbortReason::Cancelled),
    ] {
        let mut pair = Pair::new();
        let call = pair.open(Some(bytes(1)));
        pair.deliver();
        pair.listen(&frame(|out| encode_cancel(out, call, Cancel::Abort(code)))).expect("a correct peer");
        let opened = pair.listener.opened.pop().expect("it was taken on");
        assert_eq!(opened.context.abort_reason(), Some(reason));
    }
}

/// A server that is asked to end at once aborts every handler and ends every answer.
#[test]
fn all_handlers_are_told_to_end() {
    let mut pair = Pair::new();
    let calls = [(); 3].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    pair.listener.abort_all(AbortReason::Shutdown);
    for opened in std::mem::take(&mut pair.listener.opened) {
        assert_eq!(opened.context.abort_reason(), Some(AbortReason::Shutdown));
        pair.listener.finish(opened.call, Ending::orderly());
    }
    assert_eq!(frames(&mut pair.listener), calls.map(|call| (Kind::END, call)));
    assert_eq!(pair.listener.in_flight, 0);
}

/// A stream begins with its headers, its first message or its end, whichever comes first.
#[test]
fn an_answer_begins_with_whatever_comes_first() {
    let mut pair = Pair::new();
    let [message, end] = [(); 2].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    pair.listener.send(message, bytes(1), false).expect("within the limit");
    pair.listener.finish(end, Ending::orderly());
    pair.reply();
    for call in [message, end] {
        assert!(matches!(pair.begin(call), Poll::Ready(Ok((_, Begun::Stream)))));
    }
}

/// An answer begins once.
#[test]
fn headers_come_before_the_answer() {
    let mut pair = Pair::new();
    let [twice, late] = [(); 2].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    let headers = |call| frame(|out| encode_headers(out, call, &Headers::new()));
    pair.hear(&headers(twice)).expect("it begins");
    assert!(matches!(pair.begin(twice), Poll::Ready(Ok((_, Begun::Stream)))));
    assert_eq!(told(pair.hear(&headers(twice))), Some(Code::PROTOCOL));
    pair.hear(&message(late, Flags::NONE, 1)).expect("it begins");
    assert_eq!(told(pair.hear(&headers(late))), Some(Code::PROTOCOL));
    assert_eq!(told(pair.listen(&headers(late))), Some(Code::PROTOCOL), "a request has none");
}

/// A message over the limit ends its call on both sides and nothing else.
#[test]
fn a_message_over_the_limit_ends_its_call() {
    let mut pair = Pair::new();
    let [request, answer] = [(); 2].map(|()| pair.open(None));
    pair.deliver();
    pair.listener.settings.max_message = 10;
    pair.dialler.settings.max_message = 10;
    pair.listen(&message(request, Flags::NONE, 10)).expect("within the limit");
    pair.listen(&message(request, Flags::NONE, 11)).expect("it ends the call alone");
    assert_eq!(frames(&mut pair.listener), [(Kind::END, request)]);
    assert!(matches!(pair.next(request), Poll::Ready(Next::Failed(_))));
    pair.hear(&message(answer, Flags::NONE, 11)).expect("it ends the call alone");
    let Poll::Ready(Err(error)) = pair.begin(answer) else { panic!("it has failed") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::Executed));
    assert_eq!(frames(&mut pair.dialler), [(Kind::CANCEL, answer)]);
}

/// A message goes out in chunks of 64 KiB, or as large as the other side takes, and a turn of the writer has 256 KiB.
#[test]
fn messages_go_out_in_chunks_and_turns() {
    const KIB: usize = 1024;
    let sent = |max_frame: usize, length: usize| {
        let mut pair = Pair::new();
        let call = pair.open(None);
        written(&mut pair.dialler);
        pair.dialler.theirs.max_frame = u32::try_from(max_frame).expect("below 4 GiB");
        pair.dialler.send(call, bytes(length), false).expect("there is credit");
        frames(&mut pair.dialler).len()
    };
    assert_eq!((sent(256 * KIB, 64 * KIB), sent(256 * KIB, 64 * KIB + 1), sent(256 * KIB, 200 * KIB)), (1, 2, 4));
    assert_eq!((sent(32 * KIB, 32 * KIB), sent(32 * KIB, 64 * KIB)), (1, 2));
    let mut pair = Pair::new();
    let calls = [(); 6].map(|()| pair.open(None));
    written(&mut pair.dialler);
    for call in calls {
        pair.dialler.send(call, bytes(128 * KIB), false).expect("there is credit");
    }
    let mut batch = Batch::default();
    pair.dialler.transmit(&mut batch);
    let turn = batch.write_with(|slices| Ok::<_, ()>(slices.iter().map(|slice| slice.len()).sum::<usize>())).unwrap();
    assert!((256 * KIB..320 * KIB + 1000).contains(&turn), "{turn} bytes");
}

/// An OPEN carries as much of its message as fits beside the headers that there may be.
#[test]
fn an_open_carries_its_message() {
    let sent = |length: usize| {
        let mut pair = Pair::new();
        pair.dialler.theirs.max_frame = 32 * 1024;
        pair.dialler.settings.headers.bytes = 1000;
        pair.open(Some(bytes(length)));
        frames(&mut pair.dialler).iter().map(|(kind, _)| *kind).collect::<Vec<_>>()
    };
    let most = 32 * 1024 - 1000 - 512;
    assert_eq!(sent(most), [Kind::OPEN]);
    assert_eq!(sent(most + 1), [Kind::OPEN, Kind::MESSAGE]);
}

/// What was cut has no answer that could begin or go on.
#[test]
fn an_aborted_answer_does_not_begin() {
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    pair.listener.abort_all(AbortReason::Cancelled);
    pair.listener.begin(call, &Headers::new());
    assert_eq!(pair.listener.send(call, bytes(1), false), Err(SendError::Closed));
    assert!(matches!(
        pair.listener.poll_send(call, &mut None, &Context::from_waker(Waker::noop())),
        Poll::Ready(Err(_))
    ));
    assert_eq!(frames(&mut pair.listener), []);
    pair.listener.finish(call, Ending { not_executed: true, ..Ending::orderly() });
    pair.reply();
    let Poll::Ready(Err(error)) = pair.begin(call) else { panic!("it was aborted") };
    assert_eq!((error.code(), error.delivery()), (Code::CANCELLED, Delivery::NotExecuted));
}

/// A caller that gives up tells the far side once, behind its OPEN and before everything else otherwise.
#[test]
fn a_cancel_does_not_overtake_its_open() {
    let mut pair = Pair::new();
    let sent = pair.open(None);
    written(&mut pair.dialler);
    let staged = pair.open(None);
    for call in [staged, sent, staged, sent] {
        pair.dialler.abandon(call, Code::CANCELLED);
    }
    let expected = [(Kind::CANCEL, sent), (Kind::OPEN, staged), (Kind::CANCEL, staged)];
    assert_eq!(frames(&mut pair.dialler), expected);
}

/// To ask for an early end makes sense until the answer has ended or the connection is lost.
#[test]
fn a_stop_is_sent_while_the_answer_goes_on() {
    let mut pair = Pair::new();
    let [stopped, ended] = [(); 2].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    pair.listener.send(ended, bytes(1), true).expect("within the limit");
    pair.reply();
    for call in [stopped, ended, 99] {
        pair.dialler.stop(call);
    }
    assert_eq!(frames(&mut pair.dialler), [(Kind::CANCEL, stopped)]);
    let lost = pair.open(Some(bytes(1)));
    written(&mut pair.dialler);
    pair.dialler.failure = Some(Failure::new(ErrorKind::Disconnected, "lost"));
    pair.dialler.stop(lost);
    assert_eq!(frames(&mut pair.dialler), []);
}
