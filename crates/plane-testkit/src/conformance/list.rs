//! Which cases there are.

/// Makes every case of the suite a `#[tokio::test]` for one transport: `conformance!(module_name, FixtureType)`.
#[macro_export]
macro_rules! conformance {
    ($module:ident, $fixture:ty) => {
        mod $module {
            use super::*;

            $crate::conformance_cases! { $fixture }
        }
    };
}

macro_rules! list {
    ($($theme:ident { $($case:ident)* })*) => {
        list! { @export ($) $($theme { $($case)* })* }

        #[cfg(test)]
        const LISTED: &[(&str, &[&str])] = &[$((stringify!($theme), &[$(stringify!($case)),*]),)*];
    };
    (@export ($d:tt) $($theme:ident { $($case:ident)* })*) => {
        #[doc(hidden)]
        #[macro_export]
        macro_rules! conformance_cases {
            ($d fixture:ty) => {
                $(mod $theme {
                    use super::*;

                    $(
                        #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            $d crate::conformance::run($d crate::conformance::$theme::$case::<$d fixture>()).await;
                        }
                    )*
                })*
            };
        }
    };
}

list! {
    ends {
        one_message_is_answered_with_one
        a_stream_gives_every_message_in_order_and_then_ends
        a_stream_of_no_messages_ends_in_order
        no_message_and_an_empty_message_differ
        a_status_may_come_instead_of_an_answer
        a_status_may_come_after_messages
        a_stream_without_an_end_is_truncated
        an_unknown_endpoint_or_instance_is_not_found
        an_address_where_nobody_listens_is_unavailable
        an_address_of_another_transport_is_refused
        the_longest_name_works
    }
    errors {
        code_text_details_and_retry_after_survive
        an_unknown_code_is_kept
        every_code_keeps_its_kind
        the_longest_status_survives
        a_status_passes_two_hops_unchanged
        a_panic_before_the_answer_is_internal
        a_panic_in_the_first_instant_is_internal
        a_panic_during_the_stream_is_internal
        a_panic_instead_of_the_first_message_is_internal
        a_panic_leaves_neighbours_alone
    }
    headers {
        headers_echo_unchanged
        traceparent_reaches_the_handler
        headers_that_cannot_be_sent_are_refused_at_once
        headers_at_the_limits_pass
        an_answer_with_bad_headers_is_a_typed_error
        trailers_come_with_the_end
    }
    limits {
        a_message_at_the_limit_passes
        a_request_over_the_limit_is_not_sent
        an_answer_over_the_limit_is_a_typed_error
        a_stream_ends_at_a_message_over_the_limit
        a_request_stream_ends_at_a_message_over_the_limit
        sizes_around_the_window_flow
        a_large_message_arrives_whole
        a_full_server_refuses_and_recovers
        fifty_callers_share_one_connection
    }
    deadlines {
        an_expired_request_never_starts
        a_deadline_ends_the_call_and_its_handler
        a_deadline_ends_a_stream
        the_remaining_time_travels
        a_deadline_in_the_queue_never_starts_the_handler
        the_wait_to_be_accepted_is_bounded
        an_accepted_call_may_take_longer
        a_deadline_leaves_neighbours_alone
    }
    cancellation {
        dropping_a_call_aborts_its_handler
        an_abort_ends_a_handler_that_does_not_listen
        dropping_a_response_aborts_its_handler
        an_abort_reaches_a_handler_that_is_blocked_sending
        dropping_after_the_end_counts_as_complete
        dropping_right_after_the_last_message_is_no_error
        a_call_that_was_never_polled_does_nothing
        dropping_a_queued_call_frees_its_place
        a_stopped_handler_says_goodbye
        an_abort_after_a_stop_ends_the_handler
        a_cancelled_call_leaves_neighbours_alone
        a_cancellation_passes_through_a_hop
        dropping_a_call_after_one_poll_leaves_nothing_behind
    }
    flow {
        a_slow_reader_holds_its_producer_and_nobody_else
        a_handler_that_does_not_read_holds_its_caller
        a_handler_that_never_reads_its_body_leaks_nothing
        a_response_dropped_unread_leaks_nothing
        many_streams_at_once_keep_their_messages_apart
        large_and_small_messages_keep_apart
    }
    storm {
        a_storm_leaves_nothing_behind
        unread_bodies_leave_nothing_behind
    }
    streaming {
        a_streamed_request_arrives_whole
        both_directions_take_turns
        an_answer_outlives_its_request
        an_answer_may_end_before_its_request
        a_request_that_breaks_off_is_never_an_end
        a_request_stream_fails_its_call
        bodies_pass_through_a_hop
    }
    typed {
        a_value_is_answered_in_the_codec_it_came_in
        a_stream_of_values_arrives_in_order
        an_undecodable_request_is_invalid
        an_answer_that_cannot_be_encoded_is_an_error_at_its_place
        an_undecodable_answer_is_a_codec_error
        a_typed_status_reaches_its_caller
    }
    drain {
        a_draining_server_finishes_its_calls_and_takes_no_new_ones
        a_drained_server_takes_no_calls
        a_drain_that_runs_out_of_time_aborts_the_rest
        a_draining_server_registers_nothing
        a_server_that_comes_back_is_found_again
        a_closing_client_finishes_its_calls
        a_client_that_closes_at_once_ends_its_calls
        a_drain_waits_for_streams
    }
    instances {
        instances_of_one_endpoint_come_and_go_alone
        the_same_instance_twice_is_refused
        two_servers_do_not_know_each_other
        unregister_waits_for_its_calls
        unregister_reports_what_is_left
        registered_means_ready
        two_planes_never_meet
    }
    metrics {
        every_call_is_counted_once
        counts_add_up_after_many_calls_at_once
    }
}

#[cfg(test)]
mod tests {
    use super::LISTED;

    const SOURCES: &[(&str, &str)] = &[
        ("ends", include_str!("ends.rs")),
        ("errors", include_str!("errors.rs")),
        ("headers", include_str!("headers.rs")),
        ("limits", include_str!("limits.rs")),
        ("deadlines", include_str!("deadlines.rs")),
        ("cancellation", include_str!("cancellation.rs")),
        ("flow", include_str!("flow.rs")),
        ("storm", include_str!("storm.rs")),
        ("streaming", include_str!("streaming.rs")),
        ("typed", include_str!("typed.rs")),
        ("drain", include_str!("drain.rs")),
        ("instances", include_str!("instances.rs")),
        ("metrics", include_str!("metrics.rs")),
    ];

    /// A case that is written and not listed would never run.
    #[test]
    fn every_case_is_listed() {
        for (theme, source) in SOURCES {
            let (_, listed) = LISTED.iter().find(|(listed, _)| listed == theme).expect("the theme is listed");
            let written = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
            let written: Vec<_> = written.filter_map(|line| line.split_once('<')).map(|(name, _)| name).collect();
            assert_eq!(written, *listed, "{theme}");
        }
        assert_eq!(SOURCES.len(), LISTED.len());
    }
}
