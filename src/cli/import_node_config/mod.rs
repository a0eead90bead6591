//! `larder import-node-config`: the move from gradle/build-cache-node.

mod convert;
mod node_password;
mod output;
mod schema;

use std::io::Read as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use self::convert::convert;
use super::{Failure, print};

#[derive(Debug, Args)]
pub struct Options {
    /// conf/config.yaml of the build cache node, version 4 or 5; - for standard input
    #[arg(value_name = "CONFIG.YAML")]
    file: PathBuf,
}

/// Prints the larder.toml to standard output, and to standard error what came over and what did not.
pub fn run(options: &Options) -> Result<(), Failure> {
    let shown = options.file.display();
    let yaml = read(&options.file).map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
    let converted = convert(&yaml).map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
    print(&converted.toml);
    let mut report = String::from("carried over:\n");
    for (title, lines) in [("", &converted.carried), ("not carried over:\n", &converted.not_carried)] {
        report.push_str(title);
        for line in lines {
            report.push_str("  ");
            report.push_str(line);
            report.push('\n');
        }
    }
    let _ = std::io::stderr().write_all(report.as_bytes());
    Ok(())
}

#[allow(clippy::disallowed_methods)] // somebody else's configuration file
fn read(path: &std::path::Path) -> std::io::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().take(2 << 20).read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}
