//! Frontend, workers and calls as processes of their own, over TCP and over a real NATS server.

#[path = "../suite/http.rs"]
mod http;

mod place;

mod deployments;
mod draining;
mod tls;

/// Runs each test over TCP and over NATS: its name, and the module that has it.
macro_rules! on_both {
    ($($name:ident: $module:ident),* $(,)?) => {
        mod tcp {
            $(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::place::Plane::Tcp).await;
            })*
        }

        mod nats {
            $(#[tokio::test]
            async fn $name() {
                crate::$module::$name(crate::place::Plane::Nats).await;
            })*
        }
    };
}

on_both! {
    a_worker_killed_in_the_middle_is_told_and_another_takes_the_next_request: deployments,
    the_script_runs_a_deployment_and_leaves_nothing_behind: deployments,
    a_call_from_a_shell_answers_in_lines_and_exit_codes: deployments,
    a_call_from_a_shell_ends_at_its_timeout: deployments,
    a_worker_asked_to_end_finishes_what_it_says: draining,
    a_worker_whose_handler_hangs_ends_at_its_bound: draining,
    a_second_signal_ends_a_worker_at_once: draining,
    while_a_worker_drains_others_take_its_calls: draining,
    a_frontend_asked_to_end_finishes_what_it_answers: draining,
    a_frontend_whose_answers_hang_tells_its_clients_at_its_bound: draining,
    a_second_signal_ends_a_frontend_at_once: draining,
}
