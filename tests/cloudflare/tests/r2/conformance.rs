//! The whole kit.

use std::sync::Arc;

use agentx_conformance::{Case, Failure, Fresh, Profile, file_system, file_system_suite};
use agentx_resource::layer::WriteBack;

use crate::fresh;

file_system_suite!(
    #[ignore = "needs workerd: cargo xtask test cloudflare"]
    r2,
    || async { Fresh::file_system(fresh()) }
);

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn r2_below_write_back() -> Result<(), Failure> {
    let layered = || async { WriteBack::open(Arc::new(fresh())).map(Fresh::file_system) };
    Case::run_all(file_system::CASES, layered, &Profile::new())
}

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn random_operations_agree_with_memory() -> Result<(), Failure> {
    file_system::model::agrees(|| async { Fresh::file_system(fresh()) }, 12)
}
