//! What readers find, and what becomes of what nobody reads.

use plane_core::frame::Flags;
use plane_core::{Code, Status};

use super::peer::message;
use super::*;

/// Messages that came before an error are read before it.
#[test]
fn an_error_comes_after_the_messages_before_it() {
    for messages in [0, 1, 2] {
        let mut pair = Pair::new();
        let call = pair.open(Some(bytes(1)));
        pair.deliver();
        for _ in 0..messages {
            pair.listener.send(call, bytes(1), false).expect("there is credit");
        }
        pair.listener.finish(call, Ending::failed(Status::internal("broken")));
        pair.reply();
        let begun = pair.begin(call);
        if messages > 0 {
            assert!(matches!(begun, Poll::Ready(Ok((_, Begun::Stream)))), "{begun:?}");
        }
        let mut ahead = VecDeque::new();
        let mut next = || pair.dialler.poll_more(call, &mut ahead, &Context::from_waker(Waker::noop()));
        for _ in 0..messages {
            assert!(matches!(next(), Poll::Ready(Next::Message(_))));
        }
        let error = match (messages, begun) {
            (0, Poll::Ready(Err(error))) => error,
            (0, begun) => panic!("{begun:?}"),
            _ => match next() {
                Poll::Ready(Next::Failed(error)) => error,
                other => panic!("{other:?}"),
            },
        };
        assert_eq!((error.code(), error.delivery()), (Code::INTERNAL, Delivery::Executed));
        assert!(pair.dialler.calls.is_empty(), "nothing is left of the call");
    }
}

/// A handler that does not read its request holds nothing of it, and does not hold its caller up.
#[test]
fn what_a_handler_does_not_read_is_dropped() {
    let mut pair = Pair::with(ConnectionConfig::default().credit(100_000).expect("in range"));
    let call = pair.open(None);
    pair.deliver();
    for length in [60_000, 30_000] {
        pair.dialler.send(call, bytes(length), false).expect("there is credit");
    }
    pair.deliver();
    assert_eq!(frames(&mut pair.listener), [], "nobody has read");
    pair.listener.discard(call);
    assert_eq!(pair.listener.calls[&call].receiving.bytes(), 0);
    assert_eq!(frames(&mut pair.listener), [(Kind::CREDIT, call)]);
    for _ in 0..10 {
        pair.listen(&message(call, Flags::NONE, 50_000)).expect("credit for it came back");
        assert_eq!(frames(&mut pair.listener), [(Kind::CREDIT, call)]);
    }
    assert_eq!(pair.listener.calls[&call].receiving.bytes(), 0);
}
