//! Logging: lines of text for people or JSON for machines, on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Installs the log. Libraries below us are quiet unless they are named: at their trace level some would show
/// headers, and with them credentials.
///
/// # Errors
/// One line, when `log.level` cannot be read.
pub fn init(config: &LogConfig) -> Result<(), String> {
    let filter = filter(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let installed = match config.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colours).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|e| format!("log: {e}"))
}

/// Checks `log.level` without installing anything.
///
/// # Errors
/// One line, when it cannot be read.
pub fn check(config: &LogConfig) -> Result<(), String> {
    filter(&config.level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    let wrong = || format!("log.level: `{level}` is not a level; use error, warn, info, debug or trace");
    // A level alone speaks of larder; dependencies stay at warn.
    let directives = match level.parse::<tracing::Level>() {
        Ok(level) => format!("warn,larder={level}"),
        // Any other word alone would be taken for the name of a target, and everything else would be silent.
        Err(_) if level.contains('=') || level == "off" => level.to_owned(),
        Err(_) => return Err(wrong()),
    };
    EnvFilter::builder().parse(directives).map_err(|_| wrong())
}
