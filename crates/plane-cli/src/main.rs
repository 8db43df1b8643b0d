//! The `plane` binary. All of it is in the library; this gives it a runtime and an exit code.

use std::process::ExitCode;

use clap::Parser;
use plane_cli::{Cli, say_last};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say_last(format_args!("error: cannot start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(cli.run());
    // Whatever still runs was given its time by the command.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say_last(format_args!("error: {failure}"));
            failure.exit().into()
        }
    }
}
