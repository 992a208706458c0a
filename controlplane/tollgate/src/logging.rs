//! The log: to standard error, for people or as JSON lines. Numbers, keys and tickets never reach it.

use tollgate_policy::{LogFormat, LogLevel, Logging};
use tracing::Level;
use tracing_subscriber::fmt;

/// Starts the log of a policy.
pub(crate) fn start(logging: &Logging) {
    let level = match logging.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let builder = fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second start, as in tests, keeps the first.
    let _ = match logging.format {
        LogFormat::Human => tracing::subscriber::set_global_default(builder.with_ansi(false).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish()),
    };
}
