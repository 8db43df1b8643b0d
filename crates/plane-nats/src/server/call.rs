//! One call as its server sees it: what the caller sends, and what it may be sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use async_nats::{HeaderMap, Message, StatusCode, Subject};
use bytes::Bytes;
use parking_lot::Mutex;
use plane_core::{AbortReason, Body, Canceller, Code, Delivery, Error, MessageStream};

use crate::controls::Controls;
use crate::flow::{Incoming, Outgoing, Waiter};
use crate::head;
use crate::status::End;
use crate::subject;

/// How often calls are looked at in the time that a caller may be silent.
pub(super) const LOOKS: u32 = 4;

/// One call in flight.
#[derive(Debug)]
pub(super) struct Call {
    /// Where answers go.
    pub(super) reply: Subject,
    /// Where the caller talks to this call.
    pub(super) control: Subject,
    pub(super) canceller: Canceller,
    /// Which run of a stored request this is, if it is one.
    pub(super) attempt: Option<String>,
    /// Nobody hears the answer's messages any more.
    unheard: AtomicBool,
    /// How often it was looked at since it began: its age, without a look at the clock.
    looks: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    incoming: Option<Incoming>,
    /// How the request's messages ended.
    end: Option<Result<(), Error>>,
    is_ended: bool,
    reader: Waiter,
    outgoing: Outgoing,
}

impl Call {
    /// A call whose answer may have this much credit, and whose request streams if there is something to take it in.
    pub(super) fn new(
        reply: Subject,
        control: Subject,
        canceller: Canceller,
        credit: u32,
        incoming: Option<Incoming>,
    ) -> Self {
        let state = State {
            is_ended: incoming.is_none(),
            incoming,
            end: None,
            reader: Waiter::default(),
            outgoing: Outgoing::new(credit),
        };
        let unheard = AtomicBool::new(false);
        Self { reply, control, canceller, attempt: None, unheard, looks: AtomicU32::new(0), state: Mutex::new(state) }
    }

    /// The same of a stored request, which goes on without its caller.
    pub(super) fn of_stored(mut self, attempt: String) -> Self {
        self.unheard = AtomicBool::new(self.reply.is_empty());
        self.attempt = Some(attempt);
        self
    }

    /// The caller is gone, or cannot be reached. What is stored is worth its answer without one; and as long as nothing of
    /// that was sent, the caller may come back and miss nothing.
    pub(super) fn lose_caller(&self, reason: AbortReason) {
        if self.attempt.is_none() {
            self.canceller.abort(reason);
            return;
        }
        let mut state = self.state.lock();
        if reason == AbortReason::Disconnected && state.outgoing.payloads == 0 {
            return;
        }
        self.unheard.store(true, Ordering::Release);
        let waker = state.outgoing.waiter.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether nobody hears the answer's messages any more.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard.load(Ordering::Acquire)
    }

    /// Where its caller hears what comes to it, and has said by its name that it tells of itself now and then.
    pub(super) fn inbox(&self) -> Option<&str> {
        subject::numbered(&self.reply).map(|(inbox, _)| inbox)
    }

    /// Notes that some time has passed.
    pub(super) fn look(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has been in flight for as long as a caller may be silent.
    pub(super) fn is_old(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > LOOKS
    }

    /// What the call is known as.
    pub(super) fn id(&self) -> &str {
        self.control.rsplit('.').next().unwrap_or_default()
    }

    /// Takes in what the caller, or the NATS server for it, says.
    pub(super) fn take(&self, message: Message) {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            // Nobody listens for the answer any more.
            self.lose_caller(AbortReason::Disconnected);
            return;
        }
        let headers = message.headers.unwrap_or_default();
        if let Some(code) = head::number(&headers, head::ABORT) {
            let is_deadline = Code(code) == Code::DEADLINE_EXCEEDED;
            self.lose_caller(if is_deadline { AbortReason::DeadlineExceeded } else { AbortReason::Cancelled });
            return;
        }
        if headers.get(head::STOP).is_some() {
            self.canceller.stop();
        }
        let mut state = self.state.lock();
        if let Some(credit) = head::number(&headers, head::CREDIT) {
            state.outgoing.grant(credit);
        }
        let broken = state.take(&headers, message.payload);
        let wakers = [state.reader.take(), state.outgoing.waiter.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        if broken {
            self.canceller.abort(AbortReason::Cancelled);
        }
    }

    /// Waits for the leave to send one more payload.
    pub(super) fn poll_may_send(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.outgoing.may_send() || self.is_unheard() {
            return Poll::Ready(());
        }
        state.outgoing.waiter.wait(cx);
        Poll::Pending
    }

    /// The same of a payload that is several messages.
    pub(super) fn sent_some(&self, cost: u64, messages: u64) -> u64 {
        self.state.lock().outgoing.send_some(cost, messages)
    }

    pub(super) fn sent(&self, bytes: usize, continues: bool) -> u64 {
        self.state.lock().outgoing.send(bytes, continues)
    }

    /// Payloads and messages sent so far.
    pub(super) fn sent_so_far(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.outgoing.payloads, state.outgoing.messages)
    }

    /// The request's messages as the handler reads them.
    pub(super) fn request_body(self: &Arc<Self>, controls: &Arc<Controls>) -> Body {
        Body::from_messages(RequestBody { call: self.clone(), controls: controls.clone(), ended: false })
    }
}

impl State {
    /// Takes in what belongs to the request's messages; whether they are broken.
    fn take(&mut self, headers: &HeaderMap, payload: Bytes) -> bool {
        let Some(incoming) = self.incoming.as_mut().filter(|_| !self.is_ended) else { return false };
        let ended = if let Some(end) = End::decode(headers, &payload) {
            match &end.status {
                None => incoming.check_end(end.payloads, end.messages).map_err(Error::from),
                Some(_) => Err(end.into_error().expect("it has a status")),
            }
        } else if let Some(number) = head::number(headers, head::SEQ) {
            let pushed = match headers.get(head::SIZES) {
                Some(sizes) => incoming.push_some(number, sizes.as_str(), payload),
                None => incoming.push(number, headers.get(head::MORE).is_some(), payload),
            };
            match pushed {
                Ok(()) => return false,
                Err(status) => Err(status.into()),
            }
        } else {
            return false;
        };
        let broken = ended.is_err();
        self.is_ended = true;
        self.end = Some(ended.map_err(|error| error.with_delivery(Delivery::Unknown)));
        broken
    }
}

/// The request's messages as the handler reads them. Dropped, it takes no more in.
struct RequestBody {
    call: Arc<Call>,
    controls: Arc<Controls>,
    ended: bool,
}

impl MessageStream for RequestBody {
    fn poll_message(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut state = self.call.state.lock();
        let is_ended = state.is_ended;
        let Some(incoming) = state.incoming.as_mut() else { return Poll::Ready(None) };
        let message = incoming.pop();
        let credit = incoming.take_credit().filter(|_| !is_ended);
        let item = match message {
            Some(message) => Poll::Ready(Some(Ok(message))),
            None => match state.end.take() {
                Some(Ok(())) => Poll::Ready(None),
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                None => {
                    state.reader.wait(cx);
                    Poll::Pending
                }
            },
        };
        drop(state);
        if let Some(credit) = credit {
            self.controls.credit(&self.call.reply, Some(&self.call.control), credit);
        }
        self.ended = !matches!(item, Poll::Pending | Poll::Ready(Some(Ok(_))));
        item
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(incoming) = self.call.state.lock().incoming.as_mut() {
            incoming.close();
        }
    }
}
