//! The larder program: a command line, and exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    larder::cli::run(std::env::args_os())
}
