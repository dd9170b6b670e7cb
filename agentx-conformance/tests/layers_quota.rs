//! The suite over the layer that bounds what a file system holds.

use std::sync::Arc;

use agentx_conformance::Fresh;
use agentx_resource::{Layer, layer::Quota, memory::MemoryFileSystem};

agentx_conformance::file_system_suite!(quota, || async {
    let quota = Quota::new().with_bytes(1 << 30).with_files(10_000);
    Fresh::new(quota.layer(Arc::new(MemoryFileSystem::new())))
});

agentx_conformance::file_system_suite!(opened, || async {
    Quota::new().open(Arc::new(MemoryFileSystem::new())).await.map(Fresh::new)
});
