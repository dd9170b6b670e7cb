//! What a list takes of memory. A binary of its own: it counts all that is allocated.
#![cfg(test)]

use agentx_provider_cloudflare::{R2Bucket, R2FileSystem, R2Keys};
use agentx_resource::{DirEntry, FileSystem, ListOptions, ResourcePath};
use agentx_tests_cloudflare::{MANY, Place, S3_CREDENTIALS};
use futures::StreamExt;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Ten pages of R2, and the part that is the first one.
const OBJECTS: usize = 10_000;
const PAGE: usize = 1_000;

/// How much of memory was in use at the most while the first `count` objects were listed, over what was before.
async fn peak(fs: &R2FileSystem, count: usize, keep: bool) -> usize {
    let (mut kept, mut seen): (Vec<DirEntry>, _) = (Vec::new(), 0);
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let mut entries = fs.list(&ResourcePath::new("/many").unwrap(), ListOptions::recursive());
    while seen < count {
        let entry = entries.next().await.unwrap().unwrap();
        seen += 1;
        if keep {
            kept.push(entry);
        }
    }
    if count == OBJECTS {
        assert!(entries.next().await.is_none(), "more than {OBJECTS} objects");
    }
    ALLOCATED.peak_usage() - before
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn ten_thousand_objects_are_listed_in_the_memory_of_one_page() {
    let place = Place::take();
    place.fill("many", OBJECTS);
    let (id, secret) = S3_CREDENTIALS;
    let bucket = R2Bucket::new("local", MANY, R2Keys::new(id, secret)).with_endpoint(place.s3_endpoint());
    let fs = R2FileSystem::connect(&bucket.with_prefix(place.prefix())).unwrap();
    // Connections and what else stays.
    peak(&fs, PAGE, false).await;
    let page = peak(&fs, PAGE, false).await;
    let all = peak(&fs, OBJECTS, false).await;
    let kept = peak(&fs, OBJECTS, true).await;
    println!("{PAGE} objects: {page} bytes; {OBJECTS}: {all} bytes; kept: {kept} bytes");
    // A page comes while what is left of the one before is still there.
    assert!(all < page * 2, "{all} bytes, and {page} for the first page");
    assert!(kept > all * 2, "the allocator counts: {kept} bytes were kept, {all} streamed");
}
