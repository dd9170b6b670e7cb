//! A recording that somebody has changed: it is refused with the number of the line, or replayed.
#![no_main]

use std::{sync::Arc, time::SystemTime};

use agentx_resource::{
    FileSystem, FileSystemExt, ResourcePath,
    cassette::{Cassette, CassetteMode, CassetteOptions},
    layer::Recorded,
    memory::MemoryFileSystem,
};
use bytes::Bytes;
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let store: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let place = ResourcePath::new("/run.jsonl").expect("a path");
    block_on(async {
        store.write_file(&place, Bytes::copy_from_slice(input)).await.expect("memory");
        let options = CassetteOptions::new(CassetteMode::Replay).with_relaxed_order();
        let Ok(cassette) = Cassette::open(store, place.clone(), options).await else { return };
        // What a program would ask, of which a changed recording has something, or nothing.
        let _ = cassette.now(|| SystemTime::UNIX_EPOCH);
        if let Ok(files) =
            Recorded::new(&cassette, "notes").file_system(|| unreachable!("nothing is made in a replay"))
        {
            let path = ResourcePath::new("/note.md").expect("a path");
            // A replay of a call whose answer never comes stands still, and is polled once.
            let mut read = std::pin::pin!(files.read_to_string(&path));
            let _ = futures::poll!(read.as_mut());
        }
        let _ = cassette.finish().await;
    });
});
