//! What may be on the wire, counted beside the connection and not by it.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use plane_core::frame::{Decoder, Flags, Frame, FrameLimits, Hello};

/// What a message costs beside its bytes.
const MESSAGE_COST: u64 = 64;

/// Reads both directions of the wire.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What the connection said.
    said: Decoder,
    /// What it was told.
    told: Decoder,
    their_window: u64,
    calls: HashMap<u64, Account>,
    /// Calls whose direction from this side has ended.
    ended: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Account {
    /// Credit that this side was given beside the window, and what it has spent.
    given: u64,
    spent: u64,
    /// What the other side has spent, and what it was given back.
    received: u64,
    repaid: u64,
}

impl Ledger {
    pub(super) fn new(theirs: &Hello, ours: FrameLimits) -> Self {
        let their_limits = FrameLimits { max_frame: theirs.max_frame as usize, ..FrameLimits::default() };
        Self {
            said: Decoder::new(their_limits, 0),
            told: Decoder::new(ours, 0),
            their_window: theirs.credit.into(),
            calls: HashMap::new(),
            ended: HashSet::new(),
        }
    }

    /// The connection is about to read these bytes.
    pub(super) fn tell(&mut self, bytes: &[u8]) {
        self.told.extend(bytes);
        while let Ok(Some(mut frames)) = self.told.frames() {
            let calls = &mut self.calls;
            while let Some(Ok(())) = frames.next(|frame| match frame {
                Frame::Credit { call, bytes } => calls.entry(call).or_default().given += u64::from(bytes),
                Frame::Message { call, payload, .. } | Frame::Open { call, payload, .. } => {
                    calls.entry(call).or_default().received += cost(&payload);
                }
                _ => {}
            }) {}
        }
    }

    /// The connection has written these bytes: all of them are frames that the other side must take.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.said.extend(bytes);
        while let Some(mut frames) = self.said.frames().expect("frames within the other side's limits") {
            loop {
                let next = frames.next(|frame| hear_frame(&mut self.calls, &mut self.ended, self.their_window, &frame));
                match next {
                    None => break,
                    Some(parsed) => parsed.expect("a correct frame"),
                }
            }
        }
        assert_eq!(self.said.partial(), 0, "a batch ends within a frame");
    }
}

fn hear_frame(calls: &mut HashMap<u64, Account>, ended: &mut HashSet<u64>, window: u64, frame: &Frame<'_>) {
    let mut spend = |call: u64, payload: &Bytes| {
        let account = calls.entry(call).or_default();
        account.spent += cost(payload);
        assert!(account.spent <= window + account.given, "more than the credit on call {call}: {account:?}");
    };
    match frame {
        Frame::Open { call, flags, payload, open } => {
            assert!(open.is_ok());
            if !flags.has(Flags::NO_MESSAGE) {
                spend(*call, payload);
            }
            if flags.has(Flags::END) {
                ended.insert(*call);
            }
        }
        Frame::Message { call, flags, payload } => {
            assert!(!ended.contains(call), "a message after the end of call {call}");
            spend(*call, payload);
            if flags.has(Flags::END) {
                ended.insert(*call);
            }
        }
        Frame::End { call, .. } => assert!(ended.insert(*call), "a second end of call {call}"),
        Frame::Headers { call, .. } => assert!(!ended.contains(call), "headers after the end of call {call}"),
        Frame::Credit { call, bytes } => {
            let account = calls.entry(*call).or_default();
            account.repaid += u64::from(*bytes);
            assert!(account.repaid <= account.received, "credit for nothing on call {call}: {account:?}");
        }
        _ => {}
    }
}

fn cost(payload: &Bytes) -> u64 {
    payload.len() as u64 + MESSAGE_COST
}
