//! What is taken of the other side up to a limit, and refused beyond it.

use http::{HeaderName, HeaderValue};
use plane_core::frame::{
    Cancel, Flags, FrameLimits, OpenFields, block_len, encode_cancel, encode_credit, encode_end, encode_open,
};
use plane_core::{Code, HeaderLimits, Refusal};

use super::peer::{frame, message, told};
use super::*;
use crate::config::Rate;
use crate::proto::budget::Budget;
use crate::proto::receiving::MESSAGE_COST;

#[test]
fn calls_over_this_sides_limit_are_refused() {
    let mut pair = Pair::new();
    pair.listener.settings.max_calls = 2;
    let calls = [(); 3].map(|()| pair.open(Some(bytes(1))));
    pair.deliver();
    assert_eq!(pair.listener.opened.len(), 2);
    pair.reply();
    let Poll::Ready(Err(error)) = pair.begin(calls[2]) else { panic!("it is refused") };
    assert_eq!((error.code(), error.delivery()), (Code::RESOURCE_EXHAUSTED, Delivery::NotExecuted));
    pair.listener.send(calls[0], bytes(1), true).expect("within the limit");
    pair.open(Some(bytes(1)));
    pair.deliver();
    assert_eq!(pair.listener.opened.len(), 3, "one that has ended makes room");
}

#[test]
fn a_first_message_over_the_limit_is_refused() {
    let mut pair = Pair::new();
    pair.listener.settings.max_message = 10;
    let calls = [10, 11].map(|length| pair.open(Some(bytes(length))));
    pair.deliver();
    assert_eq!(pair.listener.opened.iter().map(|opened| opened.call).collect::<Vec<_>>(), [calls[0]]);
    pair.reply();
    let Poll::Ready(Err(error)) = pair.begin(calls[1]) else { panic!("it is refused") };
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::MessageTooLarge, Delivery::NotExecuted));
}

#[test]
fn a_first_message_over_the_credit_breaks_the_protocol() {
    let mut pair = Pair::new();
    pair.listener.settings.credit = 1024;
    let most = (1024 - MESSAGE_COST) as usize;
    let opening = pair.opening(1, Flags::END, most);
    pair.listen(&opening).expect("all of the credit");
    let opening = pair.opening(3, Flags::END, most + 1);
    assert_eq!(told(pair.listen(&opening)), Some(Code::FLOW_CONTROL));
}

#[test]
fn calls_are_opened_by_the_dialler_in_order() {
    let mut pair = Pair::new();
    for call in [5, 7] {
        let opening = pair.opening(call, Flags::END, 1);
        pair.listen(&opening).expect("ids may be left out");
    }
    for call in [8, 7, 5, 3] {
        let opening = pair.opening(call, Flags::END, 1);
        assert_eq!(told(pair.listen(&opening)), Some(Code::PROTOCOL), "{call}");
    }
    let opening = pair.opening(1, Flags::END, 1);
    assert_eq!(told(pair.hear(&opening)), Some(Code::PROTOCOL));
    let cancel = frame(|out| encode_cancel(out, 1, Cancel::Stop));
    assert_eq!(told(pair.hear(&cancel)), Some(Code::PROTOCOL));
}

/// A frame for a call that has ended may have crossed its end; one for a call that never was did not.
#[test]
fn frames_of_calls_that_never_were_break_the_protocol() {
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    pair.listener.send(call, bytes(1), true).expect("within the limit");
    for id in [call, 2, call + 1, call + 2] {
        let credit = frame(|out| encode_credit(out, id, 1000));
        let heard = pair.listen(&credit);
        if id == call { heard.expect("it has ended") } else { assert_eq!(told(heard), Some(Code::PROTOCOL), "{id}") }
    }
}

/// A call that ends before its request may be followed by a window of messages, and a few other frames.
#[test]
fn what_may_have_crossed_an_end_is_put_up_with() {
    let few = Rate { at_once: 1, per_second: 1 };
    let mut pair = Pair::new();
    pair.listener.settings.credit = 10 * MESSAGE_COST;
    pair.listener.budgets.strays = Budget::new(few, pair.now);
    pair.listener.expect_strays();
    assert_eq!(pair.patience(), 1 + 10 + 8);
    // Ended with its request read, in the middle of it, and refused after it.
    for (max_calls, flags, patience) in
        [(9, Flags::END, 0), (9, Flags::NONE, 10 + 8), (0, Flags::END, 2), (0, Flags::NONE, 10 + 8)]
    {
        pair.listener.settings.max_calls = max_calls;
        let call = pair.listener.last_call + 1 + pair.listener.last_call % 2;
        let opening = pair.opening(call, flags, 1);
        pair.listen(&opening).expect("a correct peer");
        let _ = pair.listener.send(call, bytes(1), true);
        assert_eq!(pair.patience(), patience, "at most {max_calls} calls, {flags:?}");
    }
}

/// Credits of a few bytes are counted, larger ones are not.
#[test]
fn small_credits_are_not_put_up_with_without_end() {
    let mut pair = Pair::new();
    let call = pair.open(Some(bytes(1)));
    pair.deliver();
    pair.listener.budgets.strays = Budget::new(Rate { at_once: 1, per_second: 1 }, pair.now);
    for _ in 0..3 {
        let credit = frame(|out| encode_credit(out, call, 512));
        pair.listen(&credit).expect("half the smallest window");
    }
    let credit = frame(|out| encode_credit(out, call, 511));
    pair.listen(&credit).expect("the first");
    assert_eq!(told(pair.listen(&credit)), Some(Code::ENHANCE_YOUR_CALM));
    let credit = frame(|out| encode_credit(out, call, u32::MAX / 2));
    assert_eq!(told(pair.listen(&credit)), Some(Code::FLOW_CONTROL));
}

/// What a server is asked for and does not do is counted by what was wrong with it.
#[test]
fn refused_calls_are_counted_by_their_reason() {
    let mut pair = Pair::new();
    let mut headers = Headers::new();
    headers.append(HeaderName::from_static("x"), HeaderValue::from_static("value"));
    let fields = OpenFields { endpoint: &pair.endpoint, instance: None, timeout: None, headers: &headers };
    let mut opening = frame(|out| encode_open(out, 1, Flags::END, &fields, 0));
    let limits =
        FrameLimits { headers: HeaderLimits { bytes: 1, ..HeaderLimits::default() }, ..FrameLimits::default() };
    let mut decoder = Decoder::new(limits, 0);
    decoder.extend(&opening);
    let frames = decoder.frames().expect("a correct head").expect("a whole frame");
    pair.listener.handle(pair.now, frames).expect("it ends the call alone");
    assert_eq!(pair.listener.refusals.counts().of(Refusal::Headers), 1);
    let name = opening.len() - block_len(&headers) - 1;
    opening[name] = b'/';
    opening[HEAD_LEN - 1] = 3;
    pair.listen(&opening).expect("it ends the call alone");
    pair.listener.settings.max_calls = 0;
    let opening = pair.opening(5, Flags::END, 0);
    pair.listen(&opening).expect("it ends the call alone");
    let counts = pair.listener.refusals.counts();
    for refusal in [Refusal::Headers, Refusal::InvalidCall, Refusal::Calls] {
        assert_eq!(counts.of(refusal), 1, "{refusal:?}");
    }
    assert_eq!(counts.total(), 3);
}

/// What is owed to a dialler that reads no refusals has a bound.
#[test]
fn refusals_that_nobody_reads_have_a_bound() {
    let mut pair = Pair::new();
    pair.listener.settings.max_calls = 0;
    for call in [1, 3] {
        let opening = pair.opening(call, Flags::END, 1);
        pair.listen(&opening).expect("a refusal");
    }
    let staged = pair.listener.outbox.staged();
    pair.listener.settings.unwritten = staged - 100;
    pair.listener.settings.abuse.unread_refusals = 100;
    let opening = pair.opening(5, Flags::END, 1);
    pair.listen(&opening).expect("exactly at the bound");
    let opening = pair.opening(7, Flags::END, 1);
    assert_eq!(told(pair.listen(&opening)), Some(Code::ENHANCE_YOUR_CALM));
}

/// END on a MESSAGE says that it is the only one.
#[test]
fn a_message_that_is_the_only_one_is_the_first() {
    let mut pair = Pair::new();
    let [only, second] = [(); 2].map(|()| pair.open(None));
    pair.deliver();
    pair.listen(&message(only, Flags::END, 1)).expect("the only one");
    pair.listen(&message(second, Flags::NONE, 1)).expect("the first");
    assert_eq!(told(pair.listen(&message(second, Flags::END, 1))), Some(Code::PROTOCOL));
    assert_eq!(told(pair.listen(&message(only, Flags::NONE, 1))), Some(Code::PROTOCOL), "after its end");
}

/// The end of a request has the count of its messages, and neither status nor flag.
#[test]
fn a_request_ends_in_order_or_breaks_the_protocol() {
    let status = plane_core::Status::internal("no");
    for (flags, count, status, correct) in [
        (Flags::NONE, 1, None, true),
        (Flags::NONE, 0, None, false),
        (Flags::NONE, 2, None, false),
        (Flags::NOT_EXECUTED, 1, None, false),
        (Flags::NONE, 1, Some(&status), false),
    ] {
        let mut pair = Pair::new();
        let call = pair.open(None);
        pair.deliver();
        pair.listen(&message(call, Flags::NONE, 1)).expect("a message");
        let end = frame(|out| encode_end(out, call, flags, count, status, None));
        let heard = pair.listen(&end);
        if correct { heard.expect("in order") } else { assert_eq!(told(heard), Some(Code::PROTOCOL)) }
    }
}
