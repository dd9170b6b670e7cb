//! The suite for disks.
//!
//! The factory gives a disk that is not mounted.

use std::sync::Arc;

use agentx_resource::{Disk, ErrorKind, Mounted};

use crate::{
    Outcome,
    failure::{ensure, ensure_kind},
};

/// Makes a module of tests: one for each case of the suite for disks. See the [crate](crate) for what the arguments
/// are.
#[macro_export]
macro_rules! disk_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::disk_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__disk_cases!(__tests { disk $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __disk_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            disk_name disk_mount disk_mount_again disk_unmount_unmounted disk_counts disk_release
            disk_release_unmounted disk_unmount_dropped disk_guard_unmounts disk_guard_dropped
        }
    };
}

crate::__disk_cases!(__table { dyn Disk });

type Subject = Arc<dyn Disk>;

/// Fails unless nothing is mounted.
async fn is_unmounted(disk: &Subject) -> Outcome {
    ensure_kind(disk.unmount().await, ErrorKind::InvalidInput, "an unmount of what is not mounted")
}

async fn disk_name(disk: Subject) -> Outcome {
    ensure(!disk.name().is_empty(), "the disk has no name")
}

async fn disk_mount(disk: Subject) -> Outcome {
    let point = disk.mount().await?;
    ensure(!point.as_str().is_empty(), "the mount point is empty")?;
    disk.unmount().await?;
    is_unmounted(&disk).await
}

async fn disk_mount_again(disk: Subject) -> Outcome {
    for _ in 0..3 {
        let point = disk.mount().await?;
        ensure(!point.as_str().is_empty(), "the mount point is empty")?;
        disk.unmount().await?;
        is_unmounted(&disk).await?;
    }
    Ok(())
}

async fn disk_unmount_unmounted(disk: Subject) -> Outcome {
    is_unmounted(&disk).await
}

async fn disk_counts(disk: Subject) -> Outcome {
    let points = [disk.mount().await?, disk.mount().await?, disk.mount().await?];
    ensure(points.windows(2).all(|pair| pair.first() == pair.last()), "one disk is mounted at two places")?;
    for _ in points {
        disk.unmount().await?;
    }
    is_unmounted(&disk).await
}

async fn disk_release(disk: Subject) -> Outcome {
    disk.mount().await?;
    disk.mount().await?;
    disk.release();
    disk.unmount().await?;
    is_unmounted(&disk).await
}

async fn disk_release_unmounted(disk: Subject) -> Outcome {
    disk.release();
    disk.mount().await?;
    disk.unmount().await?;
    is_unmounted(&disk).await
}

async fn disk_unmount_dropped(disk: Subject) -> Outcome {
    use futures::FutureExt;
    disk.mount().await?;
    // Polled once, and dropped where it is not ready by then.
    if let Some(result) = disk.unmount().now_or_never() {
        result?;
    }
    is_unmounted(&disk).await
}

async fn disk_guard_unmounts(disk: Subject) -> Outcome {
    let mounted = Mounted::attach(Arc::clone(&disk)).await?;
    mounted.unmount().await?;
    is_unmounted(&disk).await
}

async fn disk_guard_dropped(disk: Subject) -> Outcome {
    drop(Mounted::attach(Arc::clone(&disk)).await?);
    is_unmounted(&disk).await
}
