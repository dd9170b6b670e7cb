//! A client of a running server, as any other program's is.

use agentx::{client::RemoteRuntime, core::ErrorKind};
use clap::Args;

use crate::Failure;

/// Which server, and who asks it.
#[derive(Args)]
pub(crate) struct Remote {
    /// The server's socket.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws", env = "AVM_URL", global = true)]
    url: String,
    /// The key, where the server asks for one. Others on this machine see what is written here; in the variable they don't.
    #[arg(long, env = "AVM_KEY", hide_env_values = true, global = true)]
    key: Option<String>,
}

impl Remote {
    pub(crate) async fn connect(&self) -> Result<RemoteRuntime, Failure> {
        let mut server = RemoteRuntime::builder(&self.url);
        if let Some(key) = &self.key {
            server = server.key(key);
        }
        server.connect().await.map_err(|error| {
            let hint = match (error.kind(), &self.key) {
                (ErrorKind::Unauthenticated, None) => " (give a key with AVM_KEY or --key)",
                (ErrorKind::Unavailable, _) => " (is a server there? `avm serve` is one)",
                _ => "",
            };
            format!("{}: {}{hint}", self.url, crate::told(&error)).into()
        })
    }
}
