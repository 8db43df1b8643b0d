//! The messages of one direction of a call as they are sent and received, without a connection or a clock
//! (docs/nats.md, "Messages" and "Credit").

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use plane_core::{Code, Status};

/// What each payload costs beyond its bytes, so that many small ones are bounded too.
const PAYLOAD_COST: u64 = 64;

/// The credit of an answer whose caller names none.
pub(crate) const DEFAULT_CREDIT: u32 = 1024 * 1024;

pub(crate) fn cost(bytes: usize) -> u64 {
    bytes as u64 + PAYLOAD_COST
}

/// Keeps whoever waits for something here.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Option<Waker>);

impl Waiter {
    pub(crate) fn wait(&mut self, cx: &Context<'_>) {
        if !self.0.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.0 = Some(cx.waker().clone());
        }
    }

    /// To be woken once no lock is held.
    pub(crate) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// What is sent of one direction: numbers, and how much may still be sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    credit: i64,
    /// Payloads so far: the number of the next.
    pub(crate) payloads: u64,
    /// Messages so far.
    pub(crate) messages: u64,
    /// Who waits for credit.
    pub(crate) waiter: Waiter,
}

impl Outgoing {
    pub(crate) fn new(credit: u32) -> Self {
        Self { credit: credit.into(), ..Self::default() }
    }

    /// Whether a payload may be sent now. The last one may go beyond the credit, so that any size flows.
    pub(crate) fn may_send(&self) -> bool {
        self.credit > 0
    }

    pub(crate) fn grant(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit.into());
    }

    /// Takes the number of a payload that is sent now.
    pub(crate) fn send(&mut self, bytes: usize, continues: bool) -> u64 {
        self.send_some(cost(bytes), u64::from(!continues))
    }

    /// The same of a payload that is several messages, with the cost of all of them.
    pub(crate) fn send_some(&mut self, cost: u64, messages: u64) -> u64 {
        self.credit = self.credit.saturating_sub_unsigned(cost);
        let number = self.payloads;
        self.payloads += 1;
        self.messages += messages;
        number
    }
}

/// What is received of one direction: messages put together again, and the credit that goes back for them.
#[derive(Debug)]
pub(crate) struct Incoming {
    window: u64,
    /// One payload of the server: what may come beyond the window.
    slack: u64,
    max_message: usize,
    payloads: u64,
    messages: u64,
    ready: VecDeque<(Bytes, u64)>,
    partial: BytesMut,
    partial_cost: u64,
    /// Received and neither read nor given back.
    held: u64,
    /// Read and not given back yet.
    owed: u64,
    /// Nobody reads any more; what comes is dropped.
    closed: bool,
}

impl Incoming {
    pub(crate) fn new(window: u32, max_payload: usize, max_message: usize) -> Self {
        Self {
            window: window.into(),
            slack: cost(max_payload),
            max_message,
            payloads: 0,
            messages: 0,
            ready: VecDeque::new(),
            partial: BytesMut::new(),
            partial_cost: 0,
            held: 0,
            owed: 0,
            closed: false,
        }
    }

    /// Forgets what has come: the other side begins anew.
    pub(crate) fn restart(&mut self) {
        let Self { window, slack, max_message, closed, .. } = *self;
        *self = Self { window, slack, closed, ..Self::new(0, 0, max_message) };
    }

    /// Takes one payload in.
    ///
    /// # Errors
    /// The status that the call ends with: a gap, a message over the limit, or more than was granted. A payload that
    /// came already is dropped without a word.
    pub(crate) fn push(&mut self, number: u64, continues: bool, payload: Bytes) -> Result<(), Status> {
        if number < self.payloads {
            return Ok(());
        }
        if number > self.payloads {
            let what = format!("payloads {} to {} of the call were lost", self.payloads, number - 1);
            return Err(Status::new(Code::DATA_LOSS, what));
        }
        self.payloads += 1;
        self.messages += u64::from(!continues);
        if self.closed {
            return Ok(());
        }
        if self.partial.len() + payload.len() > self.max_message {
            let limit = self.max_message;
            let what = format!("a message of more than {limit} bytes is over the limit (DYN_NATS_MAX_MESSAGE_SIZE)");
            return Err(Status::new(Code::MESSAGE_TOO_LARGE, what));
        }
        let cost = cost(payload.len());
        self.held += cost;
        if self.held + self.owed > self.window + self.slack {
            return Err(Status::new(Code::FLOW_CONTROL, "the other side sent more than its credit allows"));
        }
        if continues || !self.partial.is_empty() {
            // Grows with what has come, never with what was announced.
            self.partial.extend_from_slice(&payload);
            self.partial_cost += cost;
            if !continues {
                let message = std::mem::take(&mut self.partial).freeze();
                self.ready.push_back((message, std::mem::take(&mut self.partial_cost)));
            }
        } else {
            // An empty first chunk leaves its cost behind.
            self.ready.push_back((payload, cost + std::mem::take(&mut self.partial_cost)));
        }
        Ok(())
    }

    /// Takes a payload in that is several whole messages, with the size of each.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`Code::DATA_LOSS`] if the sizes are not those of the payload.
    pub(crate) fn push_some(&mut self, number: u64, sizes: &str, mut payload: Bytes) -> Result<(), Status> {
        if number < self.payloads {
            return Ok(());
        }
        for (index, size) in sizes.split(' ').enumerate() {
            let size = size.parse().ok().filter(|size| *size <= payload.len());
            let Some(size) = size else { return Err(wrong_sizes(number)) };
            // All of them are one payload.
            let number = if index == 0 { number } else { self.payloads };
            self.push(number, false, payload.split_to(size))?;
            self.payloads -= u64::from(index > 0);
        }
        if payload.is_empty() { Ok(()) } else { Err(wrong_sizes(number)) }
    }

    /// The next whole message. With none there the reader waits, so that what has come of the next goes back as credit.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        match self.ready.pop_front() {
            Some((message, cost)) => {
                self.give_back(cost);
                Some(message)
            }
            None => {
                let cost = std::mem::take(&mut self.partial_cost);
                self.give_back(cost);
                None
            }
        }
    }

    fn give_back(&mut self, cost: u64) {
        self.held -= cost;
        self.owed += cost;
    }

    /// The credit to give back now: none until it is half a window, so that it costs few messages.
    pub(crate) fn take_credit(&mut self) -> Option<u32> {
        if self.owed < self.window / 2 || self.closed {
            return None;
        }
        u32::try_from(std::mem::take(&mut self.owed)).ok()
    }

    /// Nobody reads any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.ready = VecDeque::new();
        self.partial = BytesMut::new();
    }

    /// Whether everything that the end speaks of has come.
    ///
    /// # Errors
    /// [`Code::DATA_LOSS`] with the numbers.
    pub(crate) fn check_end(&self, payloads: u64, messages: u64) -> Result<(), Status> {
        if (self.payloads, self.messages) == (payloads, messages) && self.partial.is_empty() {
            return Ok(());
        }
        let what = format!(
            "{} of {payloads} payloads and {} of {messages} messages of the call have come",
            self.payloads, self.messages
        );
        Err(Status::new(Code::DATA_LOSS, what))
    }
}

fn wrong_sizes(number: u64) -> Status {
    Status::new(Code::DATA_LOSS, format!("payload {number} of the call does not have the sizes that it names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u32 = 1_000;

    fn incoming() -> Incoming {
        Incoming::new(WINDOW, 500, 5_000)
    }

    /// Case B3, threat E15: a duplicate is dropped, a gap is data loss.
    #[test]
    fn a_gap_is_data_loss_and_a_duplicate_nothing() {
        let mut incoming = incoming();
        incoming.push(0, false, "a".into()).unwrap();
        incoming.push(0, false, "a".into()).unwrap();
        assert_eq!(incoming.push(2, false, "c".into()).unwrap_err().code(), Code::DATA_LOSS);
        assert_eq!((incoming.pop().unwrap(), incoming.pop()), ("a".into(), None));
        assert_eq!(incoming.check_end(2, 2).unwrap_err().code(), Code::DATA_LOSS);
        assert_eq!(incoming.check_end(1, 1), Ok(()));
    }

    #[test]
    fn a_message_in_pieces_is_one_message() {
        let mut incoming = incoming();
        incoming.push(0, true, "ab".into()).unwrap();
        assert_eq!(incoming.check_end(1, 0).unwrap_err().code(), Code::DATA_LOSS);
        incoming.push(1, true, "".into()).unwrap();
        incoming.push(2, false, "c".into()).unwrap();
        incoming.push(3, false, "".into()).unwrap();
        assert_eq!((incoming.pop().unwrap(), incoming.pop().unwrap(), incoming.pop()), ("abc".into(), "".into(), None));
        assert_eq!(incoming.check_end(4, 2), Ok(()));
    }

    #[test]
    fn a_payload_may_be_several_messages() {
        let mut incoming = incoming();
        incoming.push(0, false, "a".into()).unwrap();
        incoming.push_some(1, "2 0 1", "bcd".into()).unwrap();
        incoming.push_some(1, "2 0 1", "bcd".into()).unwrap();
        incoming.push(2, false, "e".into()).unwrap();
        assert_eq!(incoming.check_end(3, 5), Ok(()));
        let read: Vec<_> = std::iter::from_fn(|| incoming.pop()).collect();
        assert_eq!(read, ["a", "bc", "", "d", "e"]);
        assert_eq!(incoming.push_some(4, "1", "x".into()).unwrap_err().code(), Code::DATA_LOSS);
    }

    #[test]
    fn sizes_that_are_not_those_of_the_payload_are_data_loss() {
        for sizes in ["", "4", "1 3", "1 1", "1  2", "-1 4", "x", "3 "] {
            let pushed = incoming().push_some(0, sizes, "abc".into());
            assert_eq!(pushed.unwrap_err().code(), Code::DATA_LOSS, "{sizes:?}");
        }
    }

    #[test]
    fn more_than_was_granted_is_refused() {
        let mut incoming = incoming();
        let result = (0..100).try_for_each(|number| incoming.push(number, false, vec![0; 100].into()));
        assert_eq!(result.unwrap_err().code(), Code::FLOW_CONTROL);
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_it_is_stored() {
        let mut incoming = Incoming::new(1 << 20, 500, 100);
        incoming.push(0, true, vec![0; 60].into()).unwrap();
        assert_eq!(incoming.push(1, false, vec![0; 41].into()).unwrap_err().code(), Code::MESSAGE_TOO_LARGE);
    }

    /// Any size flows through any window, and what is held stays within it.
    #[test]
    fn every_size_flows() {
        for size in [0, 1, 63, 64, 499, 500, 501, 999, 1_000, 1_001, 5_000] {
            let (mut outgoing, mut incoming) = (Outgoing::new(WINDOW), incoming());
            let mut read = 0;
            for _ in 0..20 {
                let mut left = size;
                loop {
                    while !outgoing.may_send() {
                        while incoming.pop().is_some() {
                            read += 1;
                        }
                        outgoing.grant(incoming.take_credit().expect("a reader that waits gives credit back"));
                    }
                    let piece = left.min(500);
                    left -= piece;
                    let number = outgoing.send(piece, left > 0);
                    incoming.push(number, left > 0, vec![0; piece].into()).unwrap();
                    if left == 0 {
                        break;
                    }
                }
            }
            while incoming.pop().is_some() {
                read += 1;
            }
            assert_eq!(read, 20, "{size}");
            assert_eq!(incoming.check_end(outgoing.payloads, outgoing.messages), Ok(()));
        }
    }
}
