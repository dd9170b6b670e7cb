//! What a write of 1 KiB over an existing file costs that no reader sees half done.

use std::{fs, sync::Arc};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, FileSystemExt, ResourcePath};
use bytes::Bytes;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const CONTENT: &[u8] = &[b'x'; 1 << 10];

/// The row.
///
/// # Errors
/// What the disk says.
pub fn row() -> Result<Row> {
    let directory = Arc::new(tempfile::tempdir()?);
    let runtime = runtime()?;
    let limit = {
        let directory = Arc::clone(&directory);
        Variant::new("std::fs::write, seen half done (limit)", move |count| {
            let path = directory.path().join("std");
            (0..count).try_for_each(|_| Ok(fs::write(&path, CONTENT)?))
        })
    };
    let renamed = {
        let directory = Arc::clone(&directory);
        Variant::new("std: write aside, rename", move |count| {
            let (aside, path) = (directory.path().join("aside"), directory.path().join("renamed"));
            (0..count).try_for_each(|_| {
                fs::write(&aside, CONTENT)?;
                Ok(fs::rename(&aside, &path)?)
            })
        })
    };
    let agentx = {
        let fs: Arc<dyn FileSystem> = Arc::new(LocalFileSystem::open(directory.path())?);
        let runtime = Arc::clone(&runtime);
        Variant::new("agentx write_file, atomic", move |count| {
            let fs = Arc::clone(&fs);
            in_task(&runtime, async move {
                let path = ResourcePath::root().join("agentx")?;
                for _ in 0..count {
                    fs.write_file(&path, Bytes::from_static(CONTENT)).await?;
                }
                Ok(())
            })
        })
    };
    let tokio = Variant::new("tokio::fs::write, seen half done", move |count| {
        let path = directory.path().join("tokio");
        in_task(&runtime, async move {
            for _ in 0..count {
                tokio::fs::write(&path, CONTENT).await?;
            }
            Ok(())
        })
    });
    let question = "What does it cost to replace a file of 1 KiB?";
    Ok(Row::new("small_write", question, limit).per(1, "write").with(renamed).with(agentx).with(tokio))
}
