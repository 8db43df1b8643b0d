//! Messages larger than the windows of their calls: what they hold together, and that each gets done.

use super::*;
use crate::config::Rate;
use crate::proto::budget::Budget;
use crate::proto::receiving::MESSAGE_COST;

const WINDOW: usize = 100_000;
const LIMIT: usize = 250_000;
const MESSAGE: usize = 1_000_000;
const CALLS: usize = 6;

/// Calls that send a large message each, as far as the listener lets them while nobody reads.
fn uploads() -> (Pair, Vec<u64>) {
    let config = ConnectionConfig::default().credit(100_000).expect("in range").large_messages(LIMIT);
    let mut pair = Pair::with(config);
    let calls: Vec<u64> = (0..CALLS).map(|_| pair.open(None)).collect();
    for call in &calls {
        pair.dialler.send(*call, bytes(MESSAGE), false).expect("within the limit");
    }
    pair.exchange();
    (pair, calls)
}

impl Pair {
    /// Until neither side has anything to say.
    fn exchange(&mut self) {
        while self.dialler.wants_to_write() || self.listener.wants_to_write() {
            self.deliver();
            self.reply();
        }
    }

    /// Bytes that the listener holds.
    fn held(&self) -> usize {
        self.listener.calls.values().map(|call| call.receiving.bytes()).sum()
    }

    fn reads(&mut self, call: u64) -> bool {
        match self.next(call) {
            Poll::Ready(Next::Message(message)) => {
                assert_eq!(message.len(), MESSAGE);
                true
            }
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => false,
        }
    }
}

/// Nobody reads: each call has its window, and all together the limit beyond.
#[test]
fn they_hold_no_more_than_the_limit_beyond_their_windows() {
    let (pair, _) = uploads();
    let (held, most) = (pair.held(), CALLS * WINDOW + LIMIT);
    assert!(held <= most && held > LIMIT, "{held} bytes are held, {most} at most");
    assert!(pair.listener.reassembly.lent() <= LIMIT);
    assert!(!pair.listener.starved.is_empty() && !pair.listener.can_feed(), "they wait");
}

/// Whoever waits for a message gets it, one after the other, although others hold all there is.
#[test]
fn each_is_done_once_somebody_waits_for_it() {
    let (mut pair, calls) = uploads();
    for call in calls.iter().rev() {
        assert!(!pair.reads(*call), "it is not whole");
        pair.exchange();
        let most = CALLS * WINDOW + LIMIT + MESSAGE;
        assert!(pair.held() <= most, "{} bytes are held, {most} at most", pair.held());
        assert!(pair.reads(*call), "somebody waits for it");
        pair.exchange();
    }
    assert_eq!((pair.listener.reassembly.lent(), pair.listener.starved.len(), pair.held()), (0, 0, 0));
}

/// All wait at once: only one goes on beyond the limit at a time.
#[test]
fn they_take_turns_beyond_the_limit() {
    let (mut pair, calls) = uploads();
    let mut left = calls;
    while !left.is_empty() {
        let before = left.len();
        left.retain(|call| !pair.reads(*call));
        let (held, most) = (pair.held(), CALLS * WINDOW + LIMIT + MESSAGE);
        assert!(held <= most, "{held} bytes are held, {most} at most");
        pair.exchange();
        let whole = left.iter().filter(|call| pair.listener.calls[*call].receiving.is_readable()).count();
        assert!(whole > 0 || left.len() < before || left.is_empty(), "{} are stuck", left.len());
    }
    assert_eq!((pair.listener.reassembly.lent(), pair.listener.starved.len(), pair.held()), (0, 0, 0));
}

/// A call that ends leaves its room to the others, whether it waited or went on before all.
#[test]
fn calls_that_end_make_room() {
    let (mut pair, calls) = uploads();
    assert!(!pair.reads(calls[0]));
    // The first goes on beyond the limit, but not to its end.
    pair.listener.feed();
    let lent = pair.listener.reassembly.lent();
    for call in &calls[..CALLS - 1] {
        pair.dialler.abandon(*call, plane_core::Code::CANCELLED);
    }
    pair.deliver();
    assert!(pair.listener.reassembly.lent() < lent);
    assert!(!pair.reads(calls[CALLS - 1]));
    pair.exchange();
    assert!(pair.reads(calls[CALLS - 1]), "it is alone");
    assert_eq!((pair.listener.reassembly.lent(), pair.listener.starved.len()), (0, 0));
}

/// The memory of a large message serves the next one, and is given back once no more come.
#[test]
fn memory_is_kept_while_it_is_used() {
    let mut pair = Pair::new();
    let mut at = Vec::new();
    for rests in [0, 0, 1, 2] {
        for _ in 0..rests {
            pair.listener.handle_timeout(pair.now).expect("a connection that lives");
        }
        let call = pair.open(None);
        pair.dialler.send(call, bytes(MESSAGE), true).expect("within the limit");
        pair.exchange();
        let Poll::Ready(Next::Message(message)) = pair.next(call) else { panic!("it came") };
        at.push((message.as_ptr(), pair.listener.reassembly.spares()));
        pair.listener.send(call, Bytes::new(), true).expect("within the limit");
        pair.exchange();
    }
    assert!(at[..3].iter().all(|spare| *spare == at[0]), "{at:?}");
    assert_eq!(at[3].1, 1, "the one that came after all was given back");
    for spares in [1, 0] {
        pair.listener.handle_timeout(pair.now).expect("a connection that lives");
        assert_eq!(pair.listener.reassembly.spares(), spares);
    }
}

/// A message that is whole and unread counts until it is read.
#[test]
fn a_message_that_nobody_reads_counts() {
    let config = ConnectionConfig::default().credit(100_000).expect("in range").large_messages(2 * MESSAGE);
    let mut pair = Pair::with(config);
    let call = pair.open(None);
    pair.dialler.send(call, bytes(MESSAGE), false).expect("within the limit");
    pair.exchange();
    let chunks = MESSAGE.div_ceil(64 * 1024);
    let lent = pair.listener.reassembly.lent();
    assert!(lent > MESSAGE - WINDOW && lent <= MESSAGE + (chunks + 2) * MESSAGE_COST as usize, "{lent}");
    assert!(pair.reads(call));
    assert_eq!(pair.listener.reassembly.lent(), 0);
}

/// While small messages come and go a large one has little on its way, so that they do not wait behind it for long. Once
/// they stop, its window is its only bound.
#[test]
fn a_large_message_gives_way_to_small_ones() {
    let mut pair = Pair::new();
    let large = pair.open(None);
    let small = pair.open(None);
    pair.exchange();
    pair.dialler.send(small, bytes(1), false).expect("there is credit");
    pair.dialler.send(large, bytes(4 * MESSAGE), false).expect("within the limit");
    let mut ahead = [0; 2];
    for (small_ones, ahead) in [true, false].into_iter().zip(&mut ahead) {
        let mut sent = 0;
        while pair.dialler.calls[&large].sending.has_pending() && sent < 2 * MESSAGE {
            if small_ones {
                pair.dialler.send(small, bytes(1), false).expect("there is credit");
            }
            let turn = written(&mut pair.dialler);
            assert!(!turn.is_empty(), "credit came for what was on its way");
            sent += turn.len();
            *ahead = turn.len().max(*ahead);
            pair.listen(&turn).expect("a correct peer");
            pair.reply();
        }
    }
    let [beside, alone] = ahead;
    assert!(beside < 2 * 64 * 1024 + 1_000, "{beside} bytes at once");
    assert!(alone > 900_000, "{alone} bytes at once");
}

/// Credit for the last of an answer crosses its end. That is no frame without effect, however many answers there are.
#[test]
fn credit_for_the_last_of_an_answer_is_no_abuse() {
    let mut pair = Pair::new();
    pair.listener.budgets.strays = Budget::new(Rate { at_once: 1, per_second: 1 }, pair.now);
    for _ in 0..10 {
        let call = pair.open(None);
        pair.dialler.finish(call, Ending::orderly());
        pair.deliver();
        pair.listener.send(call, bytes(MESSAGE), true).expect("within the limit");
        pair.reply();
        assert!(pair.listener.calls.is_empty(), "it is on its way");
        assert!(pair.dialler.wants_to_write(), "credit for it");
        pair.deliver();
        let Poll::Ready(Ok((_, Begun::Only(answer)))) = pair.begin(call) else { panic!("it came") };
        assert_eq!(answer.len(), MESSAGE);
    }
}
