//! The command line: one file per subcommand.

mod check;
mod import_node_config;
mod serve;
mod snippets;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// Wrong usage or a wrong configuration (EX_USAGE of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Everything else that ends a command.
const EXIT_FAILURE: u8 = 1;

#[derive(Debug, Parser)]
#[command(
    name = "larder",
    version,
    about = "A remote build cache node for Gradle",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the node (what `larder` alone does)
    Serve(Options),
    /// Print the configuration in effect, secrets redacted, and say whether a node would start with it
    Check(Options),
    /// Turn a config.yaml of gradle/build-cache-node into a larder.toml
    ImportNodeConfig(import_node_config::Options),
}

/// Where the configuration comes from: these flags, then LARDER_SECTION_KEY variables, then the file.
#[derive(Debug, Clone, Default, Args)]
struct Options {
    /// Configuration file (all keys: config/larder.toml)
    #[arg(long, value_name = "FILE", env = "LARDER_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:5071]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Directory for data [default: ./larder-data]
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

impl Options {
    fn sources(self) -> Sources {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name != "LARDER_CONFIG")
            .collect();
        Sources { file: self.config, listen: self.listen, data: self.data, environment }
    }
}

/// A command that came to nothing: the exit code and the one line that says why.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, message: message.into() }
    }

    fn other(message: impl Into<String>) -> Self {
        Self { code: EXIT_FAILURE, message: message.into() }
    }
}

/// Runs a command line, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            if !e.use_stderr() {
                // Help and version are no errors.
                let _ = e.print();
                return ExitCode::SUCCESS;
            }
            return report(&Failure::usage(one_line(&e)));
        }
    };
    let outcome = match cli.command {
        None => serve::run(cli.options),
        Some(Command::Serve(options)) => serve::run(options),
        Some(Command::Check(options)) => check::run(options),
        Some(Command::ImportNodeConfig(options)) => import_node_config::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "larder: {}", failure.message);
    ExitCode::from(failure.code)
}

/// What is wrong with a command line; clap explains it over several lines.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let said = said.join(" ");
    format!("{}; see larder --help", said.strip_prefix("error: ").unwrap_or(&said))
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
