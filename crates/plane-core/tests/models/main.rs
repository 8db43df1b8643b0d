//! Every order of events, and every value that memory may show, for what several threads change at once: the files of the
//! crate themselves, with the types of `sync` in place of those of `src/sync.rs`.

mod sync;

#[path = "../../src/endpoints/gauge.rs"]
mod gauge;

#[path = "../../src/context/signal.rs"]
mod signal;

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::gauge::Gauge;
use crate::signal::{ABORTED, STOPPED, Signal};

/// Every order in which threads take over from one another up to twice; what goes wrong needs no more, and all orders take hours.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}

/// A drain that is over leaves no call behind, and none comes after it, whenever calls come and go.
#[test]
fn no_call_outlives_a_drain() {
    model(|| {
        let gauge = Arc::new(Gauge::default());
        let over = Arc::new(AtomicBool::new(false));
        let caller = {
            let (gauge, over) = (gauge.clone(), over.clone());
            thread::spawn(move || {
                if gauge.enter() {
                    assert!(!over.load(Ordering::Acquire), "a call runs after the drain");
                    gauge.leave();
                }
            })
        };
        gauge.close();
        block_on(gauge.emptied());
        over.store(true, Ordering::Release);
        assert!(gauge.is_closed() && !gauge.enter());
        caller.join().expect("no panic");
        assert_eq!(gauge.now(), 0);
    });
}

/// Whoever waits for the last call is woken by it.
#[test]
fn the_last_call_wakes_who_waits_for_it() {
    model(|| {
        let gauge = Arc::new(Gauge::default());
        let callers = [0, 1].map(|_| {
            assert!(gauge.enter());
            let gauge = gauge.clone();
            thread::spawn(move || gauge.leave())
        });
        block_on(gauge.emptied());
        assert_eq!(gauge.now(), 0);
        for caller in callers {
            caller.join().expect("no panic");
        }
    });
}

/// An abort reaches a handler that waits for something else, whenever it comes.
#[test]
fn an_abort_is_never_missed_by_who_polls_the_handler() {
    model(|| {
        let signal = Arc::new(Signal::default());
        let aborts = signal.clone();
        let aborting = thread::spawn(move || aborts.raise(ABORTED));
        // As `Canceller::poll` does around a handler that is pending.
        block_on(poll_fn(|cx| {
            signal.attend(cx.waker());
            if signal.level() >= ABORTED { Poll::Ready(()) } else { Poll::Pending }
        }));
        aborting.join().expect("no panic");
    });
}

/// One that attends without the lock, because it did before, misses neither a stop nor the abort that follows it.
#[test]
fn one_that_attends_again_misses_nothing() {
    model(|| {
        let signal = Arc::new(Signal::default());
        let raises = signal.clone();
        let raising = thread::spawn(move || [STOPPED, ABORTED].into_iter().for_each(|level| raises.raise(level)));
        block_on(poll_fn(|cx| {
            signal.attend(cx.waker());
            signal.attend(cx.waker());
            if signal.level() >= ABORTED { Poll::Ready(()) } else { Poll::Pending }
        }));
        raising.join().expect("no panic");
    });
}

/// A stop and an abort at once: the handler hears of the abort, and it stays.
#[test]
fn a_stop_never_hides_an_abort() {
    model(|| {
        let signal = Arc::new(Signal::default());
        let raising = [STOPPED, ABORTED + 1].map(|level| {
            let signal = signal.clone();
            thread::spawn(move || signal.raise(level))
        });
        block_on(signal.reached(ABORTED));
        assert_eq!(signal.level(), ABORTED + 1);
        for raise in raising {
            raise.join().expect("no panic");
        }
    });
}

/// Two reasons to abort at once: one of them is first and stays, for whoever looks.
#[test]
fn the_first_abort_stays() {
    model(|| {
        let signal = Arc::new(Signal::default());
        let seen = Arc::new(AtomicUsize::new(0));
        let raising = [ABORTED, ABORTED + 1].map(|level| {
            let (signal, seen) = (signal.clone(), seen.clone());
            thread::spawn(move || {
                signal.raise(level);
                seen.fetch_add(usize::from(signal.level()), Ordering::AcqRel);
            })
        });
        for raise in raising {
            raise.join().expect("no panic");
        }
        assert_eq!(seen.load(Ordering::Acquire), 2 * usize::from(signal.level()));
    });
}
