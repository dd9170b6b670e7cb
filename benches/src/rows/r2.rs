//! What the contract costs over a bare object store: R2 in a local server where `AGENTX_CLOUDFLARE_URL` names one (as
//! `cargo xtask bench` does where it can start one), and else a store in memory, where there is no request to hide in; the
//! row says so then.

use std::{env, hint::black_box, sync::Arc};

use agentx_provider_cloudflare::{
    R2Bucket, R2FileSystem, R2Keys,
    object_store::{
        GetOptions, ObjectStore, PutMode, PutOptions, UpdateVersion, memory::InMemory, path::Path,
    },
};
use agentx_resource::{FileSystem, FileSystemExt, ListOptions, ResourcePath, WriteMode};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const CONTENT: &[u8] = &[7; 1024];
/// What the list has: ten pages.
const OBJECTS: usize = 10_000;

/// A store, bare and through the contract.
#[derive(Clone)]
struct Bucket {
    fs: R2FileSystem,
    store: Arc<dyn ObjectStore>,
    path: ResourcePath,
    key: Path,
    runtime: Arc<Runtime>,
    is_r2: bool,
}

impl Bucket {
    fn create(name: &str, content: &[u8]) -> Result<Self> {
        let runtime = runtime()?;
        let url = env::var("AGENTX_CLOUDFLARE_URL");
        let is_r2 = url.is_ok();
        let fs = match url {
            Ok(url) => {
                let bucket = R2Bucket::new("local", "bucket", R2Keys::new("key", "secret"));
                let bucket = bucket.with_endpoint(format!("{url}/cdn-cgi/local/r2/s3"));
                R2FileSystem::connect(&bucket.with_prefix(format!("bench-{name}")))?
            }
            Err(_) => R2FileSystem::new(Arc::new(InMemory::new())).with_if_match(),
        };
        let (store, path, key) = (fs.store(), ResourcePath::new("/f")?, Path::from("f"));
        runtime.block_on(fs.write_file(&path, content.to_vec()))?;
        Ok(Self { fs, store, path, key, runtime, is_r2 })
    }

    /// The row, which says where there was no R2.
    fn told(&self, row: Row) -> Row {
        if self.is_r2 {
            row
        } else {
            row.without("R2 itself", "no local server: a store in memory was asked")
        }
    }

    fn task<W>(&self, name: &str, work: impl Fn(Self, u64) -> W + 'static) -> Variant
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let bucket = self.clone();
        Variant::new(name, move |count| in_task(&bucket.runtime, work(bucket.clone(), count)))
    }
}

/// The row of a read of 1 KiB.
///
/// # Errors
/// What the store says.
pub fn read() -> Result<Row> {
    row_of_read("r2_read", "What does a read of 1 KiB from R2 cost beyond its request?", CONTENT)
}

/// The row of a read of 4 MiB.
///
/// # Errors
/// What the store says.
pub fn read_large() -> Result<Row> {
    let content = &vec![7; 4 << 20];
    row_of_read("r2_read_large", "What does a read of 4 MiB from R2 cost beyond its request?", content)
}

fn row_of_read(name: &'static str, question: &'static str, content: &[u8]) -> Result<Row> {
    let bucket = Bucket::create(name, content)?;
    let limit = bucket.task("object_store get (limit)", |bucket, count| async move {
        for _ in 0..count {
            black_box(bucket.store.get_opts(&bucket.key, GetOptions::new()).await?.bytes().await?);
        }
        Ok(())
    });
    let agentx = bucket.task("agentx read_file", |bucket, count| async move {
        for _ in 0..count {
            black_box(bucket.fs.read_file(&bucket.path).await?);
        }
        Ok(())
    });
    Ok(bucket.told(Row::new(name, question, limit).per(1, "read").with(agentx)))
}

/// The row of a replacement under a condition.
///
/// # Errors
/// What the store says.
pub fn replace() -> Result<Row> {
    let bucket = Bucket::create("replace", CONTENT)?;
    let limit = bucket.task("object_store put if-match (limit)", |bucket, count| async move {
        let head = bucket.store.get_opts(&bucket.key, GetOptions::new().with_head(true)).await?;
        let mut e_tag = head.meta.e_tag;
        for _ in 0..count {
            let mode = PutMode::Update(UpdateVersion { e_tag, version: None });
            e_tag = bucket.store.put_opts(&bucket.key, CONTENT.into(), PutOptions::from(mode)).await?.e_tag;
        }
        Ok(())
    });
    let agentx = bucket.task("agentx write IfMatch", |bucket, count| async move {
        let mut version = bucket.fs.metadata(&bucket.path).await?.version;
        for _ in 0..count {
            let mode = WriteMode::IfMatch(version.ok_or("no version")?);
            version = bucket.fs.write(&bucket.path, CONTENT.into(), mode.into()).await?.version;
        }
        Ok(())
    });
    let question = "What does a compare-and-swap of 1 KiB in R2 cost beyond its request?";
    Ok(bucket.told(Row::new("r2_replace", question, limit).per(1, "write").with(agentx)))
}

/// A list that is not whole was not measured.
fn whole(seen: usize) -> Result<()> {
    if seen == OBJECTS { Ok(()) } else { Err(format!("{seen} of {OBJECTS} objects were listed").into()) }
}

/// The row of a list of 10,000 objects, which both sides stream.
///
/// # Errors
/// What the store says.
pub fn list() -> Result<Row> {
    let bucket = Bucket::create("list", CONTENT)?;
    let filled = stream::iter(0..OBJECTS).map(Ok::<_, crate::Error>).try_for_each_concurrent(16, |object| {
        let (store, key) = (Arc::clone(&bucket.store), Path::from(format!("d/{object}")));
        async move {
            store.put_opts(&key, "x".into(), PutOptions::default()).await?;
            Ok(())
        }
    });
    bucket.runtime.block_on(filled)?;
    let limit = bucket.task("object_store list (limit)", |bucket, count| async move {
        for _ in 0..count {
            let mut objects = bucket.store.list(Some(&Path::from("d")));
            let mut seen = 0;
            while objects.next().await.transpose()?.is_some() {
                seen += 1;
            }
            whole(seen)?;
        }
        Ok(())
    });
    let agentx = bucket.task("agentx list", |bucket, count| async move {
        let directory = ResourcePath::new("/d")?;
        for _ in 0..count {
            let mut entries = bucket.fs.list(&directory, ListOptions::recursive());
            let mut seen = 0;
            while entries.next().await.transpose()?.is_some() {
                seen += 1;
            }
            whole(seen)?;
        }
        Ok(())
    });
    let question = "What does a list of 10,000 objects of R2 cost beyond its requests?";
    Ok(bucket.told(Row::new("r2_list", question, limit).per(OBJECTS as u64, "object").with(agentx)))
}
