use std::{io::Read, sync::Arc};

use agentx_benches::{
    Result,
    measure::{Row, Variant},
    rows::{
        confined_read::{CachedFile, over},
        in_task, runtime,
    },
};
use cap_std::{ambient_authority, fs::Dir};
use object_store::{ObjectStoreExt, local::LocalFileSystem};
use tokio::runtime::Runtime;

/// The row of 1 KiB with its peers.
pub fn of_1_kib() -> Result<Row> {
    let question = "What does a cached read of 1 KiB cost that can't leave its root?";
    with_peers("confined_read", question, &CachedFile::create(1 << 10)?)
}

/// The row of 64 KiB with its peers.
pub fn of_64_kib() -> Result<Row> {
    let question = "What does a cached read of 64 KiB cost that can't leave its root?";
    with_peers("confined_read_64k", question, &CachedFile::create(64 << 10)?)
}

fn with_peers(name: &'static str, question: &'static str, file: &CachedFile) -> Result<Row> {
    let runtime = runtime()?;
    let row = over(name, question, file)?
        .with(cap_std_in_place(file)?)
        .with(object_store(file, Arc::clone(&runtime))?);
    #[cfg(feature = "opendal")]
    let row = row.with(opendal(file, runtime)?);
    Ok(row)
}

/// Blocks the thread, as nothing in `cap-std` is async.
fn cap_std_in_place(file: &CachedFile) -> Result<Variant> {
    let directory = Dir::open_ambient_dir(file.directory(), ambient_authority())?;
    let file = file.clone();
    Ok(Variant::new("cap-std Dir, blocking", move |count| {
        for _ in 0..count {
            let mut content = Vec::new();
            directory.open(CachedFile::NAME)?.read_to_end(&mut content)?;
            file.check(&content)?;
        }
        Ok(())
    }))
}

fn object_store(file: &CachedFile, runtime: Arc<Runtime>) -> Result<Variant> {
    let store = Arc::new(LocalFileSystem::new_with_prefix(file.directory())?);
    let file = file.clone();
    Ok(Variant::new("object_store LocalFileSystem", move |count| {
        let (store, file) = (Arc::clone(&store), file.clone());
        in_task(&runtime, async move {
            let path = object_store::path::Path::from(CachedFile::NAME);
            for _ in 0..count {
                file.check(&store.get(&path).await?.bytes().await?)?;
            }
            Ok(())
        })
    }))
}

#[cfg(feature = "opendal")]
fn opendal(file: &CachedFile, runtime: Arc<Runtime>) -> Result<Variant> {
    let file = file.clone();
    let root = file.directory().to_str().ok_or("a directory whose name is not UTF-8")?;
    let operator = opendal::Operator::new(opendal::services::Fs::default().root(root))?;
    Ok(Variant::new("opendal Fs", move |count| {
        let (operator, file) = (operator.clone(), file.clone());
        in_task(&runtime, async move {
            for _ in 0..count {
                file.check(&operator.read(CachedFile::NAME).await?.to_bytes())?;
            }
            Ok(())
        })
    }))
}
