//! The direction of a call that comes to this side: messages, their reassembly and the credit that they hold.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use plane_core::frame::FrameError;
use plane_core::{Code, Status};

use crate::proto::backlog::Backlog;
use crate::proto::beside::LEAST;
use crate::proto::partial::{Partial, Reassembly};

/// What a MESSAGE costs beside its bytes (docs/protocol.md, "Credit"): about what holding a message costs a receiver,
/// so that a flood of empty ones is bounded like any other.
pub(crate) const MESSAGE_COST: u32 = 64;

/// So many messages are handed to a reader before it asks for them.
const AHEAD: usize = 16;

/// No more of them are once they hold so much credit.
const AHEAD_CREDIT: u32 = 4 * 1024;

/// Messages that came and were not read, and what the other side may still send.
#[derive(Debug)]
pub(crate) struct Receiving {
    unread: Backlog,
    /// Boxed, because few calls have messages that come in chunks.
    partial: Option<Box<Partial>>,
    window: u32,
    /// What the other side may still send.
    credit: u32,
    /// What was read and not yet given back.
    owed: u32,
    /// What messages hold that were handed out before their reader asked for them.
    ahead: u32,
    count: u64,
    /// Nobody reads any more: what comes is dropped.
    discard: bool,
}

/// What bounds a message beside the credit of its call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) max_message: usize,
    pub(crate) reassembly: &'a Arc<Reassembly>,
    /// The read that it came with.
    pub(crate) read: u64,
}

/// Why a chunk was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReceiveError {
    /// The other side sent more than it may.
    Credit,
    /// The message is over the limit.
    TooLarge,
}

/// What the other side of a call is told of a message over this side's limit.
pub(crate) fn too_large(limit: usize) -> Status {
    let text = format!("a message is over this side's limit of {limit} bytes (DYN_TCP_MAX_MESSAGE_SIZE)");
    Status::new(Code::MESSAGE_TOO_LARGE, text)
}

impl Receiving {
    pub(crate) fn new(window: u32) -> Self {
        Self {
            unread: Backlog::default(),
            partial: None,
            window,
            credit: window,
            owed: 0,
            ahead: 0,
            count: 0,
            discard: false,
        }
    }

    /// Lets go of all that it holds.
    pub(crate) fn clear(&mut self) {
        self.unread.clear();
        self.partial = None;
    }

    /// Begins anew after a [`clear`](Self::clear).
    pub(crate) fn reset(&mut self, window: u32) {
        self.window = window;
        self.credit = window;
        self.owed = 0;
        self.ahead = 0;
        self.count = 0;
        self.discard = false;
    }

    /// Takes a message, or a chunk of one if `more` follow. `read` says that somebody waits for the message. Returns
    /// whether a message became readable.
    pub(crate) fn push(
        &mut self,
        chunk: Bytes,
        more: bool,
        read: bool,
        limits: Limits<'_>,
    ) -> Result<bool, ReceiveError> {
        let cost = cost(&chunk);
        self.credit = self.credit.checked_sub(cost).ok_or(ReceiveError::Credit)?;
        if self.begun() + chunk.len() > limits.max_message {
            return Err(ReceiveError::TooLarge);
        }
        if self.discard {
            self.owed += cost;
            self.count += u64::from(!more);
            return Ok(false);
        }
        if more {
            let partial = self.partial.get_or_insert_with(|| Box::new(Partial::new(limits.reassembly.clone())));
            partial.push(&chunk, cost);
            self.lend(read);
            return Ok(false);
        }
        let (message, before) = match &mut self.partial {
            Some(partial) if partial.len() > 0 => partial.finish(&chunk),
            _ => (self.unread.own(chunk, limits.read), 0),
        };
        self.unread.push(message, cost + before);
        self.count += 1;
        Ok(true)
    }

    /// Bytes of a message that has not come whole.
    pub(crate) fn begun(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.len())
    }

    /// Gives the credit of a message back that has not come whole: a message larger than the window must be able to,
    /// while nobody lags behind.
    pub(crate) fn lend(&mut self, read: bool) {
        if let Some(partial) = &mut self.partial
            && self.unread.is_empty()
            && self.ahead == 0
        {
            self.owed += partial.lend(read);
        }
    }

    /// Whether a message that came in part waits for nothing but what the other side sends.
    pub(crate) fn can_grow(&self, read: bool) -> bool {
        !self.is_starved() || self.partial.as_ref().is_some_and(|partial| partial.can_grow(read))
    }

    /// Whether a message waits for credit that others of the connection hold.
    pub(crate) fn is_starved(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.is_starved())
    }

    /// Takes a chunk that nobody will read and whose credit never comes back.
    pub(crate) fn waste(&mut self, chunk: &Bytes) -> Result<(), ReceiveError> {
        self.credit = self.credit.checked_sub(cost(chunk)).ok_or(ReceiveError::Credit)?;
        Ok(())
    }

    /// The next message, for a reader that has none of those left that it was given before.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let ahead = std::mem::take(&mut self.ahead);
        self.owed += ahead;
        let Some((message, cost)) = self.unread.pop() else {
            if ahead > 0 {
                // What came in part meanwhile waited for this reader.
                self.lend(false);
            }
            return None;
        };
        self.owed += cost;
        if let Some(partial) = &mut self.partial {
            // Only the first of the unread can have come with lent credit.
            partial.settle();
        }
        self.lend(false);
        Some(message)
    }

    /// Small messages behind the next one, for a reader that will ask for them: each time it asks costs a lock. Their
    /// credit is owed once it asks for more.
    pub(crate) fn pop_ahead(&mut self, messages: &mut VecDeque<Bytes>) {
        // What comes in chunks has an account of its own.
        if self.partial.is_some() {
            return;
        }
        while messages.len() < AHEAD
            && self.ahead < AHEAD_CREDIT
            && let Some((message, cost)) = self.unread.pop()
        {
            self.ahead += cost;
            messages.push_back(message);
        }
    }

    /// Whether a message can be read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.unread.is_empty()
    }

    /// The credit to give back now: nothing, or at least half the window, or less of a message in the middle, so that its
    /// sender need not keep as much on its way.
    pub(crate) fn repay(&mut self) -> Option<u32> {
        let step = if self.begun() > 0 || self.discard { least_credit(self.window) } else { self.window / 2 };
        if self.owed < step {
            return None;
        }
        let owed = std::mem::take(&mut self.owed);
        self.credit += owed;
        Some(owed)
    }

    /// Drops what came and what will come: nobody reads any more.
    pub(crate) fn discard(&mut self) {
        self.discard = true;
        self.owed += std::mem::take(&mut self.ahead) + self.unread.cost();
        self.unread.clear();
        self.owed += self.partial.take().map_or(0, |partial| partial.cost());
    }

    /// Credit that what came holds, or that is owed for it, and credit that the other side has.
    #[cfg(test)]
    pub(crate) fn account(&self) -> (u64, u64) {
        let unread = u64::from(self.unread.cost());
        let partial = self.partial.as_ref().map_or(0, |partial| partial.cost());
        (unread + u64::from(partial) + u64::from(self.ahead) + u64::from(self.owed), u64::from(self.credit))
    }

    /// Bytes that it holds.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn bytes(&self) -> usize {
        self.begun() + self.unread.bytes()
    }

    /// How many messages came whole.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Checks the count that an end marker carries. A message that has not come whole breaks the protocol.
    pub(crate) fn check_end(&self, count: u64) -> Result<bool, FrameError> {
        if self.begun() > 0 {
            let kind = plane_core::frame::Kind::END;
            return Err(FrameError::Malformed { kind, problem: "it comes in the middle of a message" });
        }
        Ok(self.count == count)
    }
}

/// A receiver with this window gives less back at no time.
pub(crate) fn least_credit(window: u32) -> u32 {
    (window / 2).min(LEAST)
}

/// What a chunk costs of the credit.
pub(crate) fn cost(chunk: &Bytes) -> u32 {
    u32::try_from(chunk.len()).unwrap_or(u32::MAX).saturating_add(MESSAGE_COST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    impl Receiving {
        /// A chunk of a call that is alone on its connection.
        fn take(&mut self, chunk: Bytes, more: bool, max_message: usize) -> Result<bool, ReceiveError> {
            self.push(chunk, more, false, Limits { max_message, reassembly: &Reassembly::new(MAX), read: 0 })
        }
    }

    fn bytes(length: u32) -> Bytes {
        vec![1; length as usize].into()
    }

    /// Threat A22: more than the window.
    #[test]
    fn a_peer_may_not_send_more_than_its_credit() {
        let mut receiving = Receiving::new(1000);
        assert_eq!(receiving.take(bytes(1000 - MESSAGE_COST), false, MAX), Ok(true));
        assert_eq!(receiving.take(bytes(0), false, MAX), Err(ReceiveError::Credit));
    }

    /// A reader that was given messages ahead has read them once it asks for more; until then they hold their credit.
    #[test]
    fn what_is_given_ahead_is_owed_once_more_is_asked_for() {
        let mut receiving = Receiving::new(1000);
        (0..3).for_each(|_| assert_eq!(receiving.take(bytes(200), false, MAX), Ok(true)));
        let mut ahead = VecDeque::new();
        receiving.pop().unwrap();
        receiving.pop_ahead(&mut ahead);
        assert_eq!((ahead.len(), receiving.repay(), receiving.account()), (2, None, (792, 208)));
        assert_eq!(receiving.pop(), None);
        assert_eq!((receiving.repay(), receiving.account()), (Some(792), (0, 1000)));
    }

    /// A message larger than the window waits for a reader that lags, and no longer.
    #[test]
    fn what_comes_in_part_behind_messages_given_ahead_is_lent_once_those_are_read() {
        let mut receiving = Receiving::new(1000);
        (0..2).for_each(|_| assert_eq!(receiving.take(bytes(0), false, MAX), Ok(true)));
        let mut ahead = VecDeque::new();
        receiving.pop().unwrap();
        receiving.pop_ahead(&mut ahead);
        assert_eq!(receiving.take(bytes(1000 - 3 * MESSAGE_COST), true, MAX), Ok(false));
        assert_eq!((ahead.len(), receiving.repay()), (1, None), "it lags");
        assert_eq!(receiving.pop(), None);
        assert_eq!((receiving.repay(), receiving.account().1), (Some(1000), 1000));
    }

    /// So many and no more, small ones only, and none of a call whose messages come in chunks.
    #[test]
    fn few_small_messages_are_given_ahead() {
        for (length, most) in [(0, 16), (192, 16), (1000, 4), (10_000, 1)] {
            let mut receiving = Receiving::new(1 << 20);
            (0..20).for_each(|_| assert_eq!(receiving.take(bytes(length), false, MAX), Ok(true)));
            let mut ahead = VecDeque::new();
            receiving.pop_ahead(&mut ahead);
            assert_eq!(ahead.len(), most, "{length} bytes each");
        }
        let mut receiving = Receiving::new(1 << 20);
        receiving.take(bytes(1), false, MAX).unwrap();
        receiving.take(bytes(1000), true, MAX).unwrap();
        let mut ahead = VecDeque::new();
        receiving.pop_ahead(&mut ahead);
        assert!(ahead.is_empty());
    }

    #[test]
    fn credit_comes_back_once_half_the_window_was_read() {
        let mut receiving = Receiving::new(1000);
        receiving.take(bytes(300), false, MAX).unwrap();
        receiving.take(bytes(300), false, MAX).unwrap();
        assert_eq!(receiving.repay(), None);
        receiving.pop().unwrap();
        assert_eq!(receiving.repay(), None);
        receiving.pop().unwrap();
        assert_eq!(receiving.repay(), Some(2 * (300 + MESSAGE_COST)));
        assert_eq!(receiving.repay(), None);
    }

    /// A message larger than the window comes whole while the reader waits for it.
    #[test]
    fn a_message_larger_than_the_window_flows() {
        let mut receiving = Receiving::new(1000);
        let (mut sent, mut credit) = (0_u32, 1000_u32);
        while sent < 10_000 {
            let chunk = (credit - MESSAGE_COST).min(10_000 - sent);
            sent += chunk;
            credit -= chunk + MESSAGE_COST;
            receiving.take(bytes(chunk), sent < 10_000, MAX).unwrap();
            credit += receiving.repay().unwrap_or(0);
            assert!(sent == 10_000 || credit > MESSAGE_COST, "stuck at {sent}");
        }
        assert_eq!(receiving.pop().unwrap().len(), 10_000);
    }

    /// A reader that lags behind holds one window, and at most one large message beside it.
    #[test]
    fn chunks_behind_an_unread_message_hold_their_credit() {
        let mut receiving = Receiving::new(1000);
        receiving.take(bytes(100), false, MAX).unwrap();
        receiving.take(bytes(700), true, MAX).unwrap();
        assert_eq!(receiving.repay(), None);
        receiving.pop().unwrap();
        assert_eq!(receiving.repay(), Some(100 + 700 + 2 * MESSAGE_COST));
    }

    /// Case A2: exactly at the limit passes, one byte more fails.
    #[test]
    fn the_message_limit_is_exact() {
        let mut receiving = Receiving::new(10_000);
        receiving.take(bytes(60), true, 100).unwrap();
        assert_eq!(receiving.take(bytes(41), false, 100), Err(ReceiveError::TooLarge));
        let mut receiving = Receiving::new(10_000);
        receiving.take(bytes(60), true, 100).unwrap();
        assert_eq!(receiving.take(bytes(40), false, 100), Ok(true));
    }

    /// Case A20: credit is back in full when nobody reads.
    #[test]
    fn what_nobody_reads_gives_its_credit_back() {
        let mut receiving = Receiving::new(1000);
        receiving.take(bytes(400), false, MAX).unwrap();
        receiving.take(bytes(100), true, MAX).unwrap();
        receiving.discard();
        assert_eq!(receiving.repay(), Some(500 + 2 * MESSAGE_COST));
        for _ in 0..1000 {
            assert_eq!(receiving.take(bytes(500), false, MAX), Ok(false));
            receiving.repay();
        }
        assert_eq!(receiving.count(), 1001);
    }

    /// Exactly half of the window is enough, a byte less is not.
    #[test]
    fn half_a_window_is_given_back() {
        for (read, back) in [(499, None), (500, Some(500)), (501, Some(501))] {
            let mut receiving = Receiving::new(1000);
            receiving.take(bytes(read - MESSAGE_COST), false, MAX).unwrap();
            receiving.pop().unwrap();
            assert_eq!(receiving.repay(), back);
        }
    }

    /// In the middle of a message, and for what nobody reads, 16 KiB are enough.
    #[test]
    fn less_is_given_back_in_the_middle() {
        for (taken, back) in [(LEAST - 1, None), (LEAST, Some(LEAST))] {
            for discard in [false, true] {
                let mut receiving = Receiving::new(1 << 20);
                if discard {
                    receiving.discard();
                }
                receiving.take(bytes(taken - MESSAGE_COST), true, MAX).unwrap();
                assert_eq!(receiving.repay(), back, "{taken} bytes");
            }
        }
    }

    /// What is given back can be sent again, to the byte.
    #[test]
    fn credit_that_came_back_can_be_used() {
        let mut receiving = Receiving::new(1000);
        receiving.take(bytes(600), false, MAX).unwrap();
        receiving.pop().unwrap();
        assert!(receiving.repay().is_some());
        receiving.take(bytes(1000 - MESSAGE_COST), false, MAX).unwrap();
        assert_eq!(receiving.waste(&bytes(0)), Err(ReceiveError::Credit));
    }

    /// What is wasted is spent and never comes back.
    #[test]
    fn what_is_wasted_is_bounded_by_the_credit() {
        let mut receiving = Receiving::new(1000);
        assert_eq!(receiving.waste(&bytes(1000 - 2 * MESSAGE_COST)), Ok(()));
        assert_eq!(receiving.waste(&bytes(0)), Ok(()));
        assert_eq!((receiving.waste(&bytes(0)), receiving.repay()), (Err(ReceiveError::Credit), None));
    }

    /// All chunks behind an unread message count, whether it is read, dropped or completed meanwhile.
    #[test]
    fn chunks_that_wait_give_their_credit_back_once() {
        let begun = || {
            let mut receiving = Receiving::new(1000);
            receiving.take(bytes(10), false, MAX).unwrap();
            receiving.take(bytes(300), true, MAX).unwrap();
            receiving.take(bytes(301), true, MAX).unwrap();
            receiving
        };
        let spent = 10 + 300 + 301 + 3 * MESSAGE_COST;
        let mut read = begun();
        read.pop().unwrap();
        assert_eq!((read.repay(), read.repay()), (Some(spent), None));
        let mut dropped = begun();
        dropped.discard();
        dropped.discard();
        assert_eq!((dropped.repay(), dropped.repay()), (Some(spent), None));
        let mut completed = begun();
        completed.take(bytes(7), false, MAX).unwrap();
        assert_eq!(
            completed.account(),
            (u64::from(spent + 7 + MESSAGE_COST), 1000 - u64::from(spent + 7 + MESSAGE_COST))
        );
        assert_eq!(completed.pop().map(|message| message.len()), Some(10));
        assert_eq!(completed.repay(), None);
        assert_eq!(completed.pop().map(|message| message.len()), Some(300 + 301 + 7));
        assert_eq!(completed.repay(), Some(spent + 7 + MESSAGE_COST));
    }

    #[test]
    fn an_end_has_the_count_of_whole_messages() {
        let mut receiving = Receiving::new(1000);
        assert!(!receiving.is_readable());
        assert_eq!((receiving.check_end(0), receiving.check_end(1)), (Ok(true), Ok(false)));
        receiving.take(bytes(1), false, MAX).unwrap();
        assert!(receiving.is_readable());
        assert_eq!((receiving.check_end(0), receiving.check_end(1), receiving.count()), (Ok(false), Ok(true), 1));
        receiving.take(bytes(1), true, MAX).unwrap();
        assert!(receiving.check_end(1).is_err(), "in the middle of a message");
        receiving.discard();
        receiving.take(bytes(1), true, MAX).unwrap();
        assert_eq!(receiving.count(), 1);
        receiving.take(bytes(1), false, MAX).unwrap();
        assert_eq!(receiving.count(), 2);
    }
}
