use std::{io::Read, path::Path, sync::Arc};

use agentx_benches::{
    Result,
    measure::{Row, Variant},
    rows::{
        confined_read::{SmallFile, over},
        in_task, runtime,
    },
};
use cap_std::{ambient_authority, fs::Dir};
use object_store::{ObjectStoreExt, local::LocalFileSystem};
use tokio::runtime::Runtime;

/// The row with its peers.
pub fn row() -> Result<Row> {
    let file = SmallFile::create()?;
    let runtime = runtime()?;
    let row = over(&file)?
        .with(cap_std_in_place(file.directory())?)
        .with(object_store(file.directory(), Arc::clone(&runtime))?);
    #[cfg(feature = "opendal")]
    let row = row.with(opendal(file.directory(), runtime)?);
    Ok(row)
}

/// Blocks the thread, as nothing in `cap-std` is async.
fn cap_std_in_place(directory: &Path) -> Result<Variant> {
    let directory = Dir::open_ambient_dir(directory, ambient_authority())?;
    Ok(Variant::new("cap-std Dir, blocking", move |count| {
        for _ in 0..count {
            let mut content = Vec::new();
            directory.open(SmallFile::NAME)?.read_to_end(&mut content)?;
            SmallFile::check(&content)?;
        }
        Ok(())
    }))
}

fn object_store(directory: &Path, runtime: Arc<Runtime>) -> Result<Variant> {
    let store = Arc::new(LocalFileSystem::new_with_prefix(directory)?);
    Ok(Variant::new("object_store LocalFileSystem", move |count| {
        let store = Arc::clone(&store);
        in_task(&runtime, async move {
            let path = object_store::path::Path::from(SmallFile::NAME);
            for _ in 0..count {
                SmallFile::check(&store.get(&path).await?.bytes().await?)?;
            }
            Ok(())
        })
    }))
}

#[cfg(feature = "opendal")]
fn opendal(directory: &Path, runtime: Arc<Runtime>) -> Result<Variant> {
    let root = directory.to_str().ok_or("a directory whose name is not UTF-8")?;
    let operator = opendal::Operator::new(opendal::services::Fs::default().root(root))?;
    Ok(Variant::new("opendal Fs", move |count| {
        let operator = operator.clone();
        in_task(&runtime, async move {
            for _ in 0..count {
                SmallFile::check(&operator.read(SmallFile::NAME).await?.to_bytes())?;
            }
            Ok(())
        })
    }))
}
