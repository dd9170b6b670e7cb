//! Wrappers that keep the contract: each takes a resource and gives one of the same kind.
//!
//! Layers stand in one order, from the caller to the provider:
//!
//! ```text
//! trace → quota → cache → retry → timeout → limit → meter → chroot → provider
//! ```
//!
//! The meter stands innermost of those that count, since what reaches the provider is what is billed.
//! [`WriteBack`] stands where the cache stands, in its place. [`Overlay`] and [`Route`] make one file system of several, and stand where the provider stands: each of theirs may
//! have layers of its own.

mod around;
mod cache;
mod chroot;
mod limit;
mod meter;
mod overlay;
mod path_locks;
mod quota;
mod read_only;
#[cfg(feature = "record")]
mod record;
mod retry;
mod route;
mod timeout;
#[cfg(feature = "tracing")]
mod trace;
mod write_back;

use std::sync::Arc;

#[cfg(feature = "record")]
pub use self::record::Recorded;
#[cfg(feature = "tracing")]
pub use self::trace::Trace;
pub use self::{
    cache::{Cache, Freshness},
    chroot::Chroot,
    limit::Limit,
    meter::{Meter, MeterSnapshot, Usage},
    overlay::{Overlay, OverlayChange, OverlayChangeKind},
    quota::{Quota, QuotaUsage},
    read_only::ReadOnly,
    retry::Retry,
    route::Route,
    timeout::Timeout,
    write_back::{FlushReport, WriteBack},
};

/// Wraps a resource of kind `R` (`dyn FileSystem`, `dyn Process`, …) into another of the same kind. One layer value
/// can wrap several kinds: its settings and state live in it, and a wrapper is a cheap view.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::ReadOnly, memory::MemoryFileSystem};
/// use std::sync::Arc;
///
/// let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
/// let fs = ReadOnly.layer(fs);
/// # futures::executor::block_on(async {
/// assert!(fs.write_file(&ResourcePath::new("/a").unwrap(), "x").await.is_err());
/// # });
/// ```
pub trait Layer<R: ?Sized> {
    /// Wraps `inner`.
    fn layer(&self, inner: Arc<R>) -> Arc<R>;
}

#[cfg(test)]
mod tests;
