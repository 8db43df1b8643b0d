//! The direction of a call that goes from this side: what waits for credit, and how it ends.

use bytes::Bytes;
use plane_core::frame::{Flags, MIN_CHUNK};
use plane_core::{Headers, Status};

use crate::proto::receiving::{MESSAGE_COST, cost, least_credit};

/// A message that could not be handed over at once, the end behind it, and the credit left.
#[derive(Debug)]
pub(crate) struct Sending {
    credit: u64,
    pending: Option<Pending>,
    /// Boxed, because most calls end with their only message.
    ending: Option<Box<Ending>>,
    count: u64,
    /// Nothing may be sent any more, its end included.
    closed: bool,
    /// A message may have been dropped half sent: only an end that is no good one may follow.
    cut: bool,
    /// Whether the call stands in the connection's queue of those with something to send.
    pub(crate) queued: bool,
    /// Whether the message that waits gives way to others until credit comes.
    yields: bool,
    /// Credit that those of its chunks hold which went out, as far as none has come back.
    ahead: u32,
}

#[derive(Debug)]
struct Pending {
    rest: Bytes,
    end: bool,
}

/// How this direction ends once everything before it is on its way.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) status: Option<Status>,
    pub(crate) trailers: Option<Headers>,
    pub(crate) not_executed: bool,
}

impl Ending {
    pub(crate) fn orderly() -> Self {
        Self { status: None, trailers: None, not_executed: false }
    }

    /// An end with this status after the handler was started.
    pub(crate) fn failed(status: Status) -> Self {
        Self { status: Some(status), trailers: None, not_executed: false }
    }
}

impl Sending {
    pub(crate) fn new(credit: u32) -> Self {
        Self {
            credit: u64::from(credit),
            pending: None,
            ending: None,
            count: 0,
            closed: false,
            cut: false,
            queued: false,
            yields: false,
            ahead: 0,
        }
    }

    /// Begins anew after a [`close`](Self::close).
    pub(crate) fn reset(&mut self, credit: u32) {
        self.credit = u64::from(credit);
        self.count = 0;
        self.closed = false;
        self.cut = false;
        self.queued = false;
        self.yields = false;
        self.ahead = 0;
    }

    /// Whether a further message is taken now.
    pub(crate) fn is_ready(&self) -> bool {
        self.pending.is_none() && self.credit > u64::from(MESSAGE_COST)
    }

    /// Whether a message is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed || self.cut
    }

    /// Whether its end was sent, waits behind what is sent, or will never be.
    pub(crate) fn is_finished(&self) -> bool {
        self.closed
    }

    /// Whether [`cut`](Self::cut) was called.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Refuses everything from now on and forgets what waits.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.pending = None;
        self.ending = None;
    }

    /// Takes a message. `end` says that it is the only one of its direction.
    pub(crate) fn push(&mut self, message: Bytes, end: bool) {
        debug_assert!(self.pending.is_none() && !self.closed);
        self.count += 1;
        self.ahead = 0;
        self.pending = Some(Pending { rest: message, end });
        self.closed = end;
    }

    /// Takes a message that can go out as one chunk at this moment, and so needs no place here. False if it cannot.
    pub(crate) fn pass(&mut self, length: usize, max_chunk: usize, end: bool) -> bool {
        debug_assert!(!self.closed);
        let cost = length as u64 + u64::from(MESSAGE_COST);
        let passes = self.pending.is_none() && length <= max_chunk && cost <= self.credit;
        if passes {
            self.count += 1;
            self.ahead = 0;
            self.credit -= cost;
            self.closed = end;
        }
        passes
    }

    /// Ends the direction behind what waits.
    pub(crate) fn finish(&mut self, ending: Ending) {
        self.ending = Some(Box::new(ending));
        self.closed = true;
    }

    /// The other side can take more. False if the sum is impossible.
    pub(crate) fn add_credit(&mut self, bytes: u32) -> bool {
        self.credit += u64::from(bytes);
        self.ahead = self.ahead.saturating_sub(bytes);
        self.yields = false;
        self.credit <= u64::from(u32::MAX / 2)
    }

    /// How often the other side may still give credit back for what was sent, of a window that was so large at first.
    pub(crate) fn credits_to_come(&self, window: u32) -> u32 {
        let on_its_way = u64::from(window).saturating_sub(self.credit);
        let least = u64::from(least_credit(window));
        // Few calls send as much as that.
        if on_its_way < least { 0 } else { u32::try_from(on_its_way / least).unwrap_or(u32::MAX) }
    }

    /// Credit that the chunks of the message in hand hold which are on their way.
    pub(crate) fn ahead(&self) -> u32 {
        self.ahead
    }

    /// The next chunk, if there is one and credit for it, and less than `share` of its message is on
    /// its way; with it the flags of its frame.
    pub(crate) fn next_chunk(&mut self, max_chunk: usize, share: u32) -> Option<(Bytes, Flags)> {
        let pending = self.pending.as_mut()?;
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX).checked_sub(MESSAGE_COST as usize)?;
        let rest = pending.rest.len();
        let length = rest.min(max_chunk).min(credit);
        // It waits for more credit. Half the smallest window is more, so credit comes back before a sender is stuck.
        if length < rest && length < MIN_CHUNK {
            return None;
        }
        self.yields = self.ahead >= share;
        if self.yields {
            return None;
        }
        self.credit -= length as u64 + u64::from(MESSAGE_COST);
        if length < rest {
            let chunk = pending.rest.split_to(length);
            self.ahead = self.ahead.saturating_add(cost(&chunk));
            return Some((chunk, Flags::MORE));
        }
        let Pending { rest, end } = self.pending.take()?;
        Some((rest, Flags::when(end, Flags::END)))
    }

    /// The end, once nothing waits before it.
    pub(crate) fn next_end(&mut self) -> Option<(Ending, u64)> {
        if self.pending.is_some() {
            return None;
        }
        self.ending.take().map(|ending| (*ending, self.count))
    }

    /// Whether something waits, for credit or for its turn.
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.is_some() || self.ending.is_some()
    }

    /// Whether something waits for its turn only.
    pub(crate) fn has_work(&self) -> bool {
        match &self.pending {
            Some(_) if self.yields => false,
            Some(pending) => self.credit >= (pending.rest.len().min(MIN_CHUNK) as u64) + u64::from(MESSAGE_COST),
            None => self.ending.is_some(),
        }
    }

    /// Forgets a message that waits, although a part of it may be sent: its reader is gone. No other message may follow
    /// that part, and no good end.
    pub(crate) fn cut(&mut self) {
        self.pending = None;
        self.cut = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_by_chunk_and_credit() {
        let mut sending = Sending::new(1000);
        sending.push(vec![0; 1500].into(), true);
        let mut lengths = Vec::new();
        while let Some((chunk, flags)) = sending.next_chunk(400, u32::MAX) {
            lengths.push((chunk.len(), flags));
        }
        // 400 + 64 twice leaves 72, which is too little for a chunk.
        assert_eq!(lengths, [(400, Flags::MORE), (400, Flags::MORE)]);
        assert!(sending.add_credit(900));
        assert_eq!(
            sending.next_chunk(4000, u32::MAX).map(|(chunk, flags)| (chunk.len(), flags)),
            Some((700, Flags::END))
        );
        assert!(!sending.has_pending());
    }

    #[test]
    fn the_end_waits_for_the_message() {
        let mut sending = Sending::new(100);
        sending.push(vec![0; 200].into(), false);
        sending.finish(Ending { status: None, trailers: None, not_executed: false });
        assert!(sending.next_chunk(4000, u32::MAX).is_none() && sending.next_end().is_none());
        sending.add_credit(1000);
        assert!(sending.next_chunk(4000, u32::MAX).is_some());
        assert_eq!(sending.next_end().map(|(_, count)| count), Some(1));
    }

    #[test]
    fn after_a_cut_nothing_follows_but_an_end() {
        let mut sending = Sending::new(1000);
        sending.push(vec![0; 1500].into(), false);
        assert_eq!(sending.next_chunk(400, u32::MAX).map(|(_, flags)| flags), Some(Flags::MORE));
        sending.cut();
        assert!(sending.next_chunk(400, u32::MAX).is_none() && sending.is_closed() && !sending.is_finished());
        sending.finish(Ending::failed(Status::internal("cut")));
        assert!(sending.is_finished() && sending.next_end().is_some());
    }

    /// A message is taken while there is credit for a byte of it.
    #[test]
    fn a_message_waits_for_credit_for_a_byte_of_it() {
        assert!(!Sending::new(MESSAGE_COST).is_ready());
        let mut sending = Sending::new(MESSAGE_COST + 1);
        assert!(sending.is_ready());
        sending.push(vec![0; 2].into(), false);
        assert!(!sending.is_ready() && sending.has_pending());
        assert!(sending.add_credit(1000));
        assert!(!sending.is_ready(), "one waits");
        assert_eq!(sending.next_chunk(4000, u32::MAX).map(|(chunk, _)| chunk.len()), Some(2));
        assert!(sending.is_ready() && !sending.has_pending());
    }

    /// A chunk that is not the last has 256 bytes or waits; the last has what is left.
    #[test]
    fn a_chunk_is_not_smaller_than_it_may_be() {
        let least = u32::try_from(MIN_CHUNK).unwrap();
        for (credit, length, chunk) in [
            (least, MIN_CHUNK + 1, Some((MIN_CHUNK, Flags::MORE))),
            (least - 1, MIN_CHUNK + 1, None),
            (least - 1, MIN_CHUNK, None),
            (least, MIN_CHUNK, Some((MIN_CHUNK, Flags::NONE))),
            (3, 3, Some((3, Flags::NONE))),
            (2, 3, None),
            (0, 0, Some((0, Flags::NONE))),
        ] {
            let mut sending = Sending::new(MESSAGE_COST + credit);
            sending.push(vec![0; length].into(), false);
            assert_eq!(sending.has_work(), chunk.is_some(), "{length} bytes with a credit of {credit}");
            let found = sending.next_chunk(4000, u32::MAX).map(|(chunk, flags)| (chunk.len(), flags));
            assert_eq!(found, chunk, "{length} bytes with a credit of {credit}");
        }
    }

    /// Credit is spent to the byte.
    #[test]
    fn each_message_costs_its_bytes_and_a_little() {
        let mut sending = Sending::new(2 * MESSAGE_COST + 400);
        for length in [100, 300] {
            sending.push(vec![0; length].into(), false);
            assert!(sending.next_chunk(4000, u32::MAX).is_some());
        }
        sending.push(Bytes::new(), false);
        assert!(sending.next_chunk(4000, u32::MAX).is_none() && !sending.has_work());
        assert!(sending.add_credit(MESSAGE_COST));
        assert!(sending.has_work() && sending.next_chunk(4000, u32::MAX).is_some());
    }

    /// As many as what was sent makes steps of the least credit; none for less than one.
    #[test]
    fn credit_to_come_follows_what_was_sent() {
        for (window, sent, credits) in [
            (1000, 499, 0),
            (1000, 500, 1),
            (1000, 999, 1),
            (1000, 1000, 2),
            (1 << 20, 16_383, 0),
            (1 << 20, 32_768, 2),
        ] {
            let mut sending = Sending::new(window);
            sending.push(vec![0; sent - MESSAGE_COST as usize].into(), true);
            assert!(sending.next_chunk(1 << 20, u32::MAX).is_some());
            assert_eq!(sending.credits_to_come(window), credits, "{sent} of {window}");
            assert!(sending.add_credit(u32::try_from(sent).unwrap()));
            assert_eq!(sending.credits_to_come(window), 0);
        }
    }

    #[test]
    fn an_end_waits_for_nothing_but_messages() {
        let mut sending = Sending::new(1000);
        assert!(!sending.has_pending() && !sending.has_work() && sending.next_end().is_none());
        for _ in 0..2 {
            sending.push(vec![0; 1].into(), false);
            assert!(sending.next_chunk(4000, u32::MAX).is_some());
        }
        assert!(!sending.is_closed() && !sending.is_finished() && !sending.is_cut());
        sending.finish(Ending::orderly());
        assert!(sending.is_closed() && sending.is_finished() && sending.has_pending() && sending.has_work());
        assert_eq!(sending.next_end().map(|(_, count)| count), Some(2));
        assert!(!sending.has_pending() && sending.next_end().is_none(), "once");
    }

    #[test]
    fn what_waits_is_forgotten_with_a_close() {
        let mut sending = Sending::new(1000);
        sending.push(vec![0; 10].into(), false);
        sending.finish(Ending::orderly());
        sending.close();
        assert!(sending.is_closed() && sending.is_finished() && !sending.is_cut());
        assert!(sending.next_chunk(4000, u32::MAX).is_none() && sending.next_end().is_none() && !sending.has_pending());
    }

    /// Threat A21: credit beyond reason.
    #[test]
    fn credit_beyond_reason_is_refused() {
        let mut sending = Sending::new(1000);
        assert!(sending.add_credit(u32::MAX / 2 - 1000));
        assert!(!sending.add_credit(1));
    }
}
