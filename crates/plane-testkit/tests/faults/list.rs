//! Which cases there are: name, rows of docs/threats.md, transports, what must come of it.

use plane_testkit::fault::{Case, Transport};

/// A macro, because `fault::Case` has the path of an async function.
macro_rules! cases {
    ($($name:ident: $module:ident $ids:tt over $transports:tt $outcome:literal $(unless $may_skip:literal)?;)*) => {
        pub(crate) const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            ids: cases!(@ids $ids),
            outcome: $outcome,
            transports: cases!(@over $transports),
            may_skip: cases!(@skip $($may_skip)?),
            work: |scene| Box::pin(crate::$module::$name(scene)),
        }),*];
    };
    (@ids [$($id:ident)+]) => { &[$(stringify!($id)),+] };
    (@over [$($over:ident)+]) => { &[$(Transport::$over),+] };
    (@skip) => { None };
    (@skip $where:literal) => { Some($where) };
}

cases! {
    a_vanished_caller_aborts_its_handler: peers [B1] over [Tcp Nats]
        "the handler is aborted within interval and timeout of the keepalive, the caller is told within the same";
    an_idle_connection_that_died_is_replaced: peers [B2] over [Tcp Nats]
        "a call on it ends as Disconnected within the keepalive's time and is not sent again; the next ones are answered";
    a_server_that_closes_its_half_ends_its_calls: peers [B4] over [Tcp]
        "Disconnected within 100 ms; the connection is not picked again";
    a_reset_ends_every_call_at_once: peers [B5 C11] over [Tcp Nats]
        "every stream on the connection ends as Disconnected within 100 ms";
    a_lost_connection_never_looks_like_an_end: peers [B5 C2] over [Tcp Nats]
        "cut anywhere, a stream is a beginning of what was sent and ends typed";
    a_killed_server_ends_its_calls: processes [C1 C2] over [Tcp Nats]
        "Disconnected within 200 ms (NATS: 1 s), Unknown for unary calls and Executed for streams; later calls are not sent";
    a_frozen_server_is_found_and_comes_back: processes [C3] over [Tcp Nats]
        "every caller has its error within interval and timeout of the keepalive, in the middle of a stream too; late answers reach nobody";
    a_restart_at_the_same_address_is_found: processes [C4] over [Tcp Nats]
        "at least 95 % of the calls in the two seconds after it are answered";
    a_partition_is_found_and_heals: network [C8] over [Tcp Nats]
        "typed errors within the keepalive's time, in one direction or both; calls are answered within 5 s after it heals";
    latency_does_not_end_calls_or_line_them_up: network [C10] over [Tcp Nats]
        "calls overlap, and no keepalive fails";
    a_throttled_network_ends_no_call: network [C10] over [Tcp]
        "a message that takes longer than the keepalive's time arrives";
    a_pool_of_dead_connections_is_left_together: network [C6] over [Tcp]
        "one dial, and the first call is answered at once";
    a_thousand_callers_come_back_spread_out: network [C7] over [Tcp Nats]
        "in no second more than three times the mean over 5 s, and all are served";
    a_server_without_descriptors_waits_for_some: system [B9] over [Tcp]
        "it goes on serving, waits below 5 % of a processor, and accepts within 1 s once some are free";
    a_caller_without_descriptors_is_told_so: system [B10] over [Tcp Nats]
        "ResourceExhausted, not sent, and answered again once some are free";
    a_thousand_streams_need_few_descriptors: system [B6] over [Tcp Nats]
        "1,000 streams at once under a limit of 1,024 descriptors share a few connections, and all complete";
    idle_connections_cost_little_and_none_starves: system [B6] over [Tcp]
        "at most 16 KiB each at the server; each still gets its answer"
        unless "fewer descriptors are allowed than connections are wanted";
    a_flood_of_connections_passes: system [B7] over [Tcp]
        "callers that are there are not hurt, a new one is answered within 2 s after it";
    connecting_again_and_again_leaves_nothing: system [B25] over [Tcp]
        "descriptors, tasks and memory are as before";
    little_memory_is_enough_under_attack: system [B11] over [Tcp]
        "a worker with 256 MiB goes on serving beside answers that nobody reads and frames that never come";
    an_address_with_a_dead_end_is_reached_by_the_other: system [C27] over [Tcp]
        "a name with an address where nobody listens is reached by its other one; one that does not resolve is Unavailable, not sent";
    a_greedy_caller_leaves_room_for_others: load [B13] over [Tcp Nats]
        "10,000 calls of one caller, 100 at a time, leave another one's p99 within its bound";
    a_large_message_leaves_room_for_small_ones: load [B14] over [Tcp Nats]
        "small calls on the same connection keep their p99 within its bound";
    a_full_server_refuses_at_once: load [B23] over [Tcp Nats]
        "ResourceExhausted, not executed, within 10 ms";
    a_stream_that_nobody_reads_holds_up_nobody: load [B19] over [Tcp Nats]
        "100 streams that are read on the same connection keep their speed; memory stays within the window";
    streams_that_nobody_reads_hold_what_is_promised: load [B19] over [Tcp Nats]
        "memory stays within their windows and what a connection may hold unwritten";
    callers_that_leave_in_the_middle_of_a_write_break_nothing: load [B21] over [Tcp Nats]
        "the connection stays, and the next call on it is answered";
    a_caller_that_leaves_is_noticed_soon: load [B20] over [Tcp Nats]
        "the handler is aborted (p99 100 ms) and its place is free";
    panics_reach_their_callers_alone: failing [B15] over [Tcp Nats]
        "Internal for those callers, before and during an answer; gauges at zero";
    messages_after_an_abort_are_dropped: failing [B24] over [Tcp Nats]
        "each is refused at once, and nothing is counted as failed";
    a_drain_ends_at_its_limit: failing [C12] over [Tcp Nats]
        "a handler that hangs and a stream are ended as Unavailable, not much later than the limit";
    a_handler_that_blocks_its_thread_loses_no_call: failing [B18] over [Tcp Nats]
        "other calls wait no longer than the thread is kept, nobody is taken for dead, and nothing is lost";
    clocks_that_differ_change_no_deadline: time [C19] over [Tcp Nats]
        "a worker whose clock is three years ahead has the time that is left, and no other"
        unless "the system lets no user have a clock of its own";
    a_deadline_in_the_past_starts_nothing: time [C20] over [Tcp Nats]
        "DeadlineExceeded, not sent, and no handler is started";
    a_deadline_shrinks_over_three_hops: time [C21] over [Tcp Nats]
        "each hop has what is left, and all of them together end by the first deadline";
}
