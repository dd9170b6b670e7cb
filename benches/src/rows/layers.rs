//! What the boundary of the contract costs, and what layers over it cost: on the cheapest thing that there is to do.

use std::sync::Arc;

use agentx_resource::{
    FileSystem, FileSystemExt, Layer, ResourcePath, WriteOptions,
    layer::{Chroot, ReadOnly},
    memory::MemoryFileSystem,
};
use bytes::Bytes;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

/// The row.
///
/// # Errors
/// What the host says.
pub fn row() -> Result<Row> {
    let runtime = runtime()?;
    let home = ResourcePath::new("/home/user")?;
    let file = home.join("notes.md")?;
    let memory = Arc::new(MemoryFileSystem::new());
    in_task(&runtime, {
        let (memory, file) = (Arc::clone(&memory), file.clone());
        async move {
            let options = WriteOptions::default().with_create_parents();
            memory.write(&file, Bytes::from_static(b"x"), options).await?;
            Ok(())
        }
    })?;
    let limit = {
        let (memory, file, runtime) = (Arc::clone(&memory), file.clone(), Arc::clone(&runtime));
        Variant::new("MemoryFileSystem, its own type (limit)", move |count| {
            let (memory, file) = (Arc::clone(&memory), file.clone());
            in_task(&runtime, async move {
                for _ in 0..count {
                    one_byte(memory.metadata(&file).await?.len)?;
                }
                Ok(())
            })
        })
    };
    let stack = |name: &str, fs: Arc<dyn FileSystem>, path: ResourcePath| {
        let runtime = Arc::clone(&runtime);
        Variant::new(name, move |count| {
            let (fs, path) = (Arc::clone(&fs), path.clone());
            in_task(&runtime, async move {
                for _ in 0..count {
                    one_byte(fs.metadata(&path).await?.len)?;
                }
                Ok(())
            })
        })
    };
    let whole: Arc<dyn FileSystem> = memory;
    let below = ResourcePath::root().join("notes.md")?;
    let read_only = ReadOnly.layer(Arc::clone(&whole));
    let chroot = Chroot::new(home.clone()).layer(Arc::clone(&whole));
    let both = ReadOnly.layer(Chroot::new(home).layer(Arc::clone(&whole)));
    let question = "What do the contract's boundary and the layers add to a look at a file in memory?";
    Ok(Row::new("layers", question, limit)
        .per(1, "look")
        .with(stack("dyn FileSystem", whole, file.clone()))
        .with(stack("ReadOnly", read_only, file))
        .with(stack("Chroot", chroot, below.clone()))
        .with(stack("ReadOnly over Chroot", both, below)))
}

fn one_byte(len: u64) -> Result<()> {
    if len == 1 { Ok(()) } else { Err("not the file".into()) }
}
