//! The suite over the layer that keeps what was read.

use std::{sync::Arc, time::Duration};

use agentx_conformance::Fresh;
use agentx_resource::{
    FileSystem, Layer,
    layer::{Cache, Freshness},
    memory::{ManualClock, MemoryFileSystem},
};

agentx_conformance::file_system_suite!(validated, || async { cached(Freshness::Validate) });

// The clock stands still, so that nothing is ever too old.
agentx_conformance::file_system_suite!(for_a_time, || async {
    cached(Freshness::For(Duration::from_secs(1)))
});

fn cached(freshness: Freshness) -> Fresh<dyn FileSystem> {
    let cache = Cache::new(freshness, Arc::new(ManualClock::default()));
    Fresh::new(cache.layer(Arc::new(MemoryFileSystem::new())))
}
