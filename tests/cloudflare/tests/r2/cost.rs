//! What an agent's usual pattern costs, counted where R2 counts it.

use std::sync::Arc;

use agentx_provider_cloudflare::{R2FileSystem, R2Usage};
use agentx_resource::{
    FileSystem, FileSystemExt, ListOptions, Result, WriteMode, WriteOptions, layer::WriteBack,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{fresh, path};

const FILES: usize = 30;

/// A project of small files.
async fn project() -> R2FileSystem {
    let fs = fresh();
    let files = stream::iter(0..FILES).map(|file| {
        let options = WriteOptions::default().with_create_parents();
        let (fs, at) = (fs.clone(), path(&format!("/src/{file}.rs")));
        async move { fs.write(&at, format!("fn f{file}() {{}}\n").into(), options).await }
    });
    files.buffer_unordered(8).try_for_each(|_| async { Ok(()) }).await.unwrap();
    fs
}

/// One turn: looks around, reads many files, searches them, changes some of them step by step, and writes new ones.
async fn turn(fs: &dyn FileSystem) -> Result<()> {
    let entries: Vec<_> = fs.list(&path("/"), ListOptions::recursive()).try_collect().await?;
    let files = entries.into_iter().filter(|entry| entry.metadata.is_file());
    let files: Vec<_> = files.filter_map(|entry| entry.path).collect();
    for file in &files {
        if fs.metadata(file).await?.len < 1000 {
            fs.read_to_string(file).await?;
        }
    }
    // A search looks into each file once more.
    for file in &files {
        assert!(fs.read_to_string(file).await?.contains("fn "));
    }
    for file in files.iter().take(6) {
        // An edit reads the file, replaces it if it is still the same, and is looked at.
        for step in 0..3 {
            let read = fs.read(file, agentx_resource::ReadOptions::default()).await?;
            let version = read.metadata.version.clone().unwrap();
            let text = String::from_utf8(read.bytes(1000).await?.to_vec()).unwrap() + &format!("// {step}\n");
            fs.write(file, text.clone().into(), WriteMode::IfMatch(version).into()).await?;
            assert_eq!(fs.read_to_string(file).await?, text);
        }
    }
    for new in ["/src/new.rs", "/notes.md"] {
        assert!(!fs.exists(&path(new)).await?);
        for draft in ["one", "two"] {
            fs.write_file(&path(new), draft).await?;
        }
    }
    Ok(())
}

async fn contents(fs: &R2FileSystem) -> Vec<(String, String)> {
    let mut contents = Vec::new();
    for entry in fs.walk(&path("/")).try_collect::<Vec<_>>().await.unwrap() {
        if entry.metadata.is_file() {
            let at = entry.path.unwrap();
            contents.push((at.to_string(), fs.read_to_string(&at).await.unwrap()));
        }
    }
    contents.sort();
    contents
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_turn_costs_at_most_a_third_of_what_a_naive_port_pays() {
    let (naive, store) = (project().await, project().await);
    let before = naive.usage().unwrap();
    turn(&naive).await.unwrap();
    let naively: R2Usage = naive.usage().unwrap().since(&before);

    let before = store.usage().unwrap();
    let fs = WriteBack::open(Arc::new(store.clone())).unwrap();
    turn(&fs).await.unwrap();
    let written = fs.flush().await.complete().unwrap().written;
    let used = store.usage().unwrap().since(&before);

    println!("a turn on {FILES} files: {used:?}; naively: {naively:?}");
    assert_eq!(written.len(), 8);
    assert_eq!(contents(&store).await, contents(&naive).await);
    assert!(used.billed() * 3 <= naively.billed(), "{used:?} and {naively:?}");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn what_is_billed_is_counted_by_class() {
    let fs = fresh();
    let mut before = fs.usage().unwrap();
    let mut used = |fs: &R2FileSystem| {
        let now = fs.usage().unwrap();
        let since = now.since(&before);
        before = now;
        (since.class_a, since.class_b, since.free)
    };
    let file = path("/f");
    fs.write_file(&file, "1").await.unwrap();
    // Whether a file, or a directory, is there; and the put.
    assert_eq!(used(&fs), (2, 1, 0));
    fs.write_file(&file, "2").await.unwrap();
    assert_eq!(used(&fs), (1, 1, 0));
    let version = fs.metadata(&file).await.unwrap().version.unwrap();
    assert_eq!(used(&fs), (0, 1, 0));
    fs.write(&file, "3".into(), WriteMode::IfMatch(version).into()).await.unwrap();
    assert_eq!(used(&fs), (1, 0, 0));
    fs.read_file(&file).await.unwrap();
    assert_eq!(used(&fs), (0, 1, 0));
    fs.metadata(&file).await.unwrap();
    assert_eq!(used(&fs), (0, 1, 0));
    fs.readdir(&path("/")).await.unwrap();
    assert_eq!(used(&fs), (1, 0, 0));
    fs.rm_all(&file).await.unwrap();
    assert_eq!(used(&fs), (0, 1, 1));
}
