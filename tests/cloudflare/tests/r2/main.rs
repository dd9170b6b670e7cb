//! R2 by its S3 API.
#![cfg(test)]

mod conformance;
mod cost;
mod disk;
mod fault;
mod proxy;

use agentx_provider_cloudflare::{R2Bucket, R2FileSystem, R2Keys};
use agentx_resource::ResourcePath;
use agentx_tests_cloudflare::{BUCKET, Place, S3_CREDENTIALS};

/// The part of the bucket that `place` has to itself.
fn bucket(place: &Place) -> R2Bucket {
    let (id, secret) = S3_CREDENTIALS;
    R2Bucket::new("local", BUCKET, R2Keys::new(id, secret))
        .with_endpoint(place.s3_endpoint())
        .with_prefix(place.prefix())
}

fn fresh() -> R2FileSystem {
    R2FileSystem::connect(&bucket(&Place::take())).unwrap()
}

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}
