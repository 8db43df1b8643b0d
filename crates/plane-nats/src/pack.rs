//! Small messages that are ready at once and travel in one payload (docs/nats.md, "Messages").

use std::fmt::Write as _;

use async_nats::HeaderMap;
use bytes::{Bytes, BytesMut};

use crate::flow::cost;
use crate::head;

/// How many messages travel together at most.
const MAX_MESSAGES: usize = 64;

/// What they cost at most, in credit.
const MAX_COST: u64 = 16 * 1024;

/// Messages that travel in one payload.
#[derive(Debug)]
pub(crate) struct Pack {
    messages: Vec<Bytes>,
    bytes: usize,
    cost: u64,
    limit: u64,
}

impl Pack {
    /// No message yet; a payload with its headers has at most this many bytes.
    pub(crate) fn new(max_payload: usize) -> Self {
        // What a message costs beyond its bytes is more than its size takes in the headers.
        let room = max_payload.saturating_sub(head::OWN_BYTES) as u64;
        Self { messages: Vec::new(), bytes: 0, cost: 0, limit: MAX_COST.min(room) }
    }

    /// Puts one more message in, or gives it back if it does not fit.
    pub(crate) fn push(&mut self, message: Bytes) -> Result<(), Bytes> {
        let cost = self.cost + cost(message.len());
        if self.messages.len() == MAX_MESSAGES || cost > self.limit {
            return Err(message);
        }
        self.bytes += message.len();
        self.cost = cost;
        self.messages.push(message);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// The only message, if there is just one, taken out.
    pub(crate) fn take_single(&mut self) -> Option<Bytes> {
        let single = (self.messages.len() == 1).then(|| self.messages.pop()).flatten();
        if single.is_some() {
            (self.bytes, self.cost) = (0, 0);
        }
        single
    }

    /// Takes all messages out: the payload, and the header with their sizes.
    pub(crate) fn take(&mut self, headers: &mut HeaderMap) -> Bytes {
        let mut payload = BytesMut::with_capacity(self.bytes);
        let mut sizes = String::with_capacity(4 * self.messages.len());
        for message in self.messages.drain(..) {
            let separator = if sizes.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(sizes, "{separator}{}", message.len());
            payload.extend_from_slice(&message);
        }
        headers.insert(head::SIZES, sizes);
        (self.bytes, self.cost) = (0, 0);
        payload.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Incoming;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut pack = Pack::new(1 << 20);
        let messages = [&b"a"[..], b"", b"bcd"].map(Bytes::from);
        for message in messages.clone() {
            pack.push(message).unwrap();
        }
        assert_eq!((pack.len(), pack.cost(), pack.take_single()), (3, 3 * 64 + 4, None));
        let mut headers = HeaderMap::new();
        let payload = pack.take(&mut headers);
        let mut incoming = Incoming::new(1_000, 1_000, 1_000);
        incoming.push_some(0, headers.get(head::SIZES).unwrap().as_str(), payload).unwrap();
        assert_eq!(std::iter::from_fn(|| incoming.pop()).collect::<Vec<_>>(), messages);
        assert_eq!((pack.len(), pack.cost()), (0, 0));
    }

    #[test]
    fn a_pack_has_limits() {
        for (size, max_payload, fits) in [(0, 1 << 20, 64), (64, 1 << 20, 64), (1_000, 1 << 20, 15), (64, 1_024, 6)] {
            let mut pack = Pack::new(max_payload);
            let pushed = (0..100).take_while(|_| pack.push(vec![0; size].into()).is_ok()).count();
            assert_eq!(pushed, fits, "{size} {max_payload}");
            let mut headers = head::only(head::SEQ, u64::MAX);
            let payload = pack.take(&mut headers);
            assert!(head::wire_len(&headers) + payload.len() <= max_payload);
        }
        assert_eq!(Pack::new(1 << 20).push(vec![0; 20_000].into()).unwrap_err().len(), 20_000);
    }

    #[test]
    fn one_message_needs_no_sizes() {
        let mut pack = Pack::new(1 << 20);
        pack.push("a".into()).unwrap();
        assert_eq!((pack.take_single(), pack.len(), pack.take_single()), (Some("a".into()), 0, None));
    }
}
