//! What a call makes of whatever comes to its inbox; only under `cfg(fuzzing)`.

use std::task::{Context, Poll, Waker};

use async_nats::{Message, StatusCode, Subject};
use bytes::Bytes;
use plane_core::HeaderLimits;

use super::call::{Begun, Call, Next};
use crate::flow::Incoming;
use crate::fuzzing::headers_of;

/// Gives a call replies until it ends: records of a reply subject, headers and a payload, each ended by a byte 0xff, with
/// a first byte that says what else there is to it. Between them its caller reads.
///
/// # Panics
/// If the call goes on after its end, or holds more than came.
pub fn replies(data: &[u8]) {
    let incoming = Incoming::new(4_096, 1_024, 10_000);
    let call = Call::new(1, "plane.a.b.c".into(), None, incoming, HeaderLimits::default());
    let stored = data.first().is_some_and(|byte| byte & 1 == 1);
    let call = if stored { call.stored() } else { call };
    let cx = Context::from_waker(Waker::noop());
    let (mut streams, mut ended) = (false, false);
    for record in data.get(1..).unwrap_or_default().split(|byte| *byte == 0xff).take(64) {
        // The last says what it is, so that the texts before it can stay as they are.
        let Some((what, record)) = record.split_last() else { continue };
        call.take(message(*what, record));
        if what & 8 != 0 && !ended {
            ended = read(&call, &cx, &mut streams);
        }
    }
    call.fail(plane_core::Error::new(plane_core::ErrorKind::Disconnected, plane_core::Delivery::Unknown, "lost"));
    for _ in 0..=data.len() {
        if ended {
            return;
        }
        ended = read(&call, &cx, &mut streams);
    }
    assert!(ended, "a call that has failed never ends");
}

fn message(what: u8, record: &[u8]) -> Message {
    let text = String::from_utf8_lossy(record);
    let (reply, rest) = text.split_once('\r').unwrap_or(("", &text));
    let (headers, payload) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let status = (what & 4 != 0).then_some(StatusCode::NO_RESPONDERS);
    Message {
        subject: Subject::from_static("_INBOX.x.+1"),
        reply: (what & 1 != 0).then(|| reply.into()),
        payload: Bytes::from(payload.to_owned()),
        headers: (what & 2 != 0).then(|| headers_of(headers)),
        status,
        description: None,
        length: record.len(),
    }
}

/// Whether that was the end.
fn read(call: &Call, cx: &Context<'_>, streams: &mut bool) -> bool {
    if !*streams {
        match call.poll_begin(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(Begun::Stream(_))) => *streams = true,
            Poll::Ready(Ok(Begun::Whole(_)) | Err(_)) => return true,
        }
    }
    matches!(call.poll_next(cx).0, Poll::Ready(Next::End(_) | Next::Failed(_)))
}
