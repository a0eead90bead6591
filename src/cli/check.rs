//! `larder check`: the configuration in effect.

use std::fmt::Write as _;

use super::{Failure, Options, print};
use crate::auth::Auth;
use crate::config::{self, Anonymous, Config};
use crate::model::seal::Sealer;
use crate::store::Location;
use crate::telemetry;

/// Prints the configuration as a file that would give the same, secrets redacted. Finds every error that a start
/// would find without opening the store or the port.
pub fn run(options: Options) -> Result<(), Failure> {
    let (config, warnings) = load(options)?;
    let anonymous = config.anonymous();
    let mut shown = config;
    shown.auth.anonymous = Some(anonymous);
    let mut text = String::new();
    for warning in warnings {
        let _ = writeln!(text, "# warning: {warning}");
    }
    if shown.auth.users.is_empty() && anonymous == Anonymous::ReadWrite {
        text.push_str("# nobody needs a password: whoever reaches this address may read and write\n");
    }
    let toml =
        toml::to_string(&shown).map_err(|e| Failure::other(format!("the configuration cannot be shown: {e}")))?;
    text.push_str(&toml);
    print(&text);
    Ok(())
}

/// Loads a configuration and checks everything in it that can be checked without a store or a port.
pub fn load(options: Options) -> Result<(Config, Vec<String>), Failure> {
    let (config, warnings) = config::load(&options.sources()).map_err(Failure::usage)?;
    Location::parse(&config.store.url).map_err(|e| Failure::usage(format!("store.url: {e}")))?;
    // Nothing is signed: only whether the users can be read is of interest.
    let sealer = Sealer::new(&[0; 32]);
    Auth::new(&config.auth, config.anonymous(), sealer, |name| std::env::var(name).ok()).map_err(Failure::usage)?;
    telemetry::check(&config.log).map_err(Failure::usage)?;
    Ok((config, warnings))
}
