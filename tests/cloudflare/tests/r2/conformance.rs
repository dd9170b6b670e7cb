//! The whole kit.

use agentx_conformance::{Fresh, file_system_suite};

use crate::fresh;

file_system_suite!(
    #[ignore = "needs workerd: cargo xtask test cloudflare"]
    r2,
    || async { Fresh::file_system(fresh()) }
);
