use agentx_resource::{
    ErrorKind, FileKind, FileSystemExt, MkdirOptions, ReadOptions, RemoveOptions, StatOptions,
    TransferOptions,
};

use super::support::{Fs, path, put, put_directory, put_implied, tree_is};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn stat_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "hello").await?;
    let found = fs.metadata(&path("/a")?).await?;
    ensure_eq(found.kind, FileKind::File, "the kind")?;
    ensure_eq(found.len, 5, "the length")?;
    let versions = fs.capabilities().if_match.is_some();
    ensure(found.version.is_some() || !versions, "conditional writes are declared, and there is no version")?;
    ensure_eq(&fs.metadata(&path("/a")?).await?.version, &found.version, "the version at the second look")
}

pub(super) async fn stat_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    put_implied(&fs, "/implied/f").await?;
    for at in ["/d", "/implied"] {
        let found = fs.metadata(&path(at)?).await?;
        ensure_eq(found.kind, FileKind::Directory, at)?;
        ensure_eq(found.len, 0, "a directory's length")?;
    }
    Ok(())
}

pub(super) async fn stat_root(fs: Fs) -> Outcome {
    ensure_eq(fs.metadata(&path("/")?).await?.kind, FileKind::Directory, "the root")
}

pub(super) async fn stat_no_follow(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "hello").await?;
    for at in ["/", "/d", "/d/f"] {
        let found = fs.stat(&path(at)?, StatOptions::no_follow()).await?;
        ensure_eq(&found.link_target, &None, format!("where {at} leads"))?;
        ensure_eq(found, fs.metadata(&path(at)?).await?, format!("{at} itself"))?;
    }
    ensure_kind(fs.stat(&path("/a")?, StatOptions::no_follow()).await, ErrorKind::NotFound, "stat")
}

pub(super) async fn stat_missing(fs: Fs) -> Outcome {
    for at in ["/a", "/a/b"] {
        ensure_kind(fs.metadata(&path(at)?).await, ErrorKind::NotFound, at)?;
    }
    Ok(())
}

pub(super) async fn stat_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    ensure_kind(fs.metadata(&path("/a/b")?).await, ErrorKind::NotFound, "stat")
}

pub(super) async fn exists_yes(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "x").await?;
    for at in ["/", "/d", "/d/f"] {
        ensure(fs.exists(&path(at)?).await?, format!("{at} does not exist"))?;
    }
    Ok(())
}

pub(super) async fn exists_no(fs: Fs) -> Outcome {
    put(&fs, "/ab", "x").await?;
    for at in ["/a", "/abc", "/a/b"] {
        ensure(!fs.exists(&path(at)?).await?, format!("{at} exists"))?;
    }
    Ok(())
}

pub(super) async fn exists_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    ensure(!fs.exists(&path("/a/b")?).await?, "something exists below a file")
}

pub(super) async fn error_subject(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    let (gone, d, x) = (path("/d/gone")?, path("/d")?, path("/x")?);
    let errors = [
        ("read", "/d/gone", fs.read_file(&gone).await.err()),
        ("write", "/d", fs.write_file(&d, "x").await.err()),
        ("stat", "/d/gone", fs.metadata(&gone).await.err()),
        ("list", "/d/gone", fs.readdir(&gone).await.err()),
        ("mkdir", "/d", fs.mkdir(&d, MkdirOptions::default()).await.err()),
        ("rm", "/d/gone", fs.rm(&gone, RemoveOptions::default()).await.err()),
        ("rename", "/d/gone", fs.rename(&gone, &x, TransferOptions::default()).await.err()),
        ("copy", "/d/gone", fs.copy(&gone, &x, TransferOptions::default()).await.err()),
    ];
    for (operation, at, error) in errors {
        let Some(error) = error else { return ensure(false, format!("{operation} of {at} is no error")) };
        ensure_eq(error.operation(), operation, "the error's operation")?;
        ensure_eq(error.path(), Some(at), format!("the subject that the error of {operation} names"))?;
    }
    Ok(())
}

pub(super) async fn error_bad_request(fs: Fs) -> Outcome {
    fs.write_file(&path("/a")?, vec![0xff, 0xfe]).await?;
    put_directory(&fs, "/d").await?;
    let (root, a, d) = (path("/")?, path("/a")?, path("/d")?);
    let (inside, transfer) = (path("/d/inside")?, TransferOptions::default());
    #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
    let inverted = ReadOptions::default().with_range(5..2);
    let errors = [
        ("read", fs.read(&a, inverted).await.err(), ErrorKind::InvalidInput),
        ("read", fs.read_to_string(&a).await.err(), ErrorKind::Corrupt),
        ("rm", fs.rm(&root, RemoveOptions::recursive()).await.err(), ErrorKind::InvalidInput),
        ("rename", fs.rename(&d, &inside, transfer.clone()).await.err(), ErrorKind::InvalidInput),
        ("copy", fs.copy(&d, &inside, transfer).await.err(), ErrorKind::InvalidInput),
    ];
    for (operation, error, kind) in errors {
        let Some(error) = error else { return ensure(false, format!("{operation} is no error")) };
        ensure_eq((error.kind(), error.operation()), (kind, operation), "the error")?;
        let named = error.path().is_some_and(|named| ["/", "/a", "/d", "/d/inside"].contains(&named));
        ensure(named, format!("the error of {operation} names {:?}", error.path()))?;
    }
    tree_is(&fs, &["/a", "/d"]).await
}
