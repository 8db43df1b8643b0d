//! What is taken at a limit and refused beyond it.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use plane_core::Code;
use plane_core::frame::{
    Cancel, Flags, GoAway, OpenFields, block_len, encode_cancel, encode_credit, encode_end, encode_go_away,
    encode_message_head, encode_open,
};

use super::*;
use crate::config::Rate;
use crate::proto::budget::Budget;
use crate::proto::receiving::MESSAGE_COST;

/// A frame as bytes.
pub(super) fn frame(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out);
    out
}

pub(super) fn message(call: u64, flags: Flags, length: usize) -> BytesMut {
    let mut out = frame(|out| encode_message_head(out, call, flags, length));
    out.extend_from_slice(&bytes(length));
    out
}

impl Pair {
    /// An OPEN with its message.
    fn opening(&self, call: u64, flags: Flags, length: usize) -> BytesMut {
        let headers = Headers::new();
        let fields = OpenFields { endpoint: &self.endpoint, instance: None, timeout: None, headers: &headers };
        let mut out = frame(|out| encode_open(out, call, flags, &fields, length));
        out.extend_from_slice(&bytes(length));
        out
    }

    pub(super) fn listen(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        receive(&mut self.listener, self.now, bytes)
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        receive(&mut self.dialler, self.now, bytes)
    }

    /// How many frames without effect the listener puts up with now.
    fn patience(&mut self) -> u32 {
        let mut strays = 0;
        while self.listener.stray(self.now).is_ok() {
            strays += 1;
        }
        strays
    }
}

pub(super) fn told(refused: Result<(), Failure>) -> Option<Code> {
    refused.expect_err("it is refused").tell
}

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
    pair.open(None);
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
