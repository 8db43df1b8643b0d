//! Frontend, workers and calls as processes of their own, over TCP and over a real NATS server.

#[path = "../suite/http.rs"]
mod http;

mod place;

mod deployments;
mod draining;
mod tls;

/// Runs each test over TCP and over NATS.
macro_rules! on_both {
    ($($module:ident: $($name:ident),* $(,)?;)*) => {
        mod tcp {
            $($(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::place::Plane::Tcp).await;
            })*)*
        }

        mod nats {
            $($(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::place::Plane::Nats).await;
            })*)*
        }
    };
}

on_both! {
    deployments:
        a_worker_killed_in_the_middle_is_told_and_another_takes_the_next_request,
        the_script_runs_a_deployment_and_leaves_nothing_behind,
        a_call_from_a_shell_answers_in_lines_and_exit_codes,
        a_call_from_a_shell_ends_at_its_timeout;
    draining:
        a_worker_asked_to_end_finishes_what_it_says,
        a_worker_whose_handler_hangs_ends_at_its_bound,
        a_second_signal_ends_a_worker_at_once,
        while_a_worker_drains_others_take_its_calls,
        a_frontend_asked_to_end_finishes_what_it_answers,
        a_frontend_whose_answers_hang_tells_its_clients_at_its_bound,
        a_second_signal_ends_a_frontend_at_once;
}
