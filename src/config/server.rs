//! `[server]`: where and how the HTTP API and gRPC listen.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::name::BindAddress;
use super::origin::Sourced;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The server's options as merged from all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where to listen; `127.0.0.1:3000` by default.
    pub bind: Sourced<BindAddress>,
    /// Where to take operators' orders; `127.0.0.1:3001` by default, `None`: nowhere.
    pub admin_bind: Sourced<Option<BindAddress>>,
    /// Where to serve gRPC; `None`, the default: nowhere.
    pub grpc_bind: Sourced<Option<BindAddress>>,
    /// Whether gRPC takes orders to load and unload models, from whoever reaches it; not by default.
    pub grpc_orders: Sourced<bool>,
    /// Threads that serve HTTP, and as many that serve gRPC, 1 to 1024; the machine's cores by default.
    pub workers: Sourced<NonZeroUsize>,
    /// The largest request body or gRPC message in bytes, at least 1; 64 MiB by default.
    pub max_body_bytes: Sourced<usize>,
    /// How long a graceful stop may take, at most a year; 30 seconds by default.
    pub grace: Sourced<Duration>,
    /// How log lines look; text by default.
    pub log_format: Sourced<LogFormat>,
    /// Whether each request that is answered is logged; not by default.
    pub access_log: Sourced<bool>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            bind: Sourced::default(BindAddress::default()),
            admin_bind: Sourced::default(Some(BindAddress::admin())),
            grpc_bind: Sourced::default(None),
            grpc_orders: Sourced::default(false),
            workers: Sourced::default(cores),
            max_body_bytes: Sourced::default(64 << 20),
            grace: Sourced::default(Duration::from_secs(30)),
            log_format: Sourced::default(LogFormat::Text),
            access_log: Sourced::default(false),
        }
    }
}
