use agentx_resource::{FileSystemExt, RemoveOptions, TransferOptions};

use super::support::{Fs, holds, path, put, tree, tree_is};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq},
};

/// Names that some store, shell or URL takes for something else.
const UNUSUAL: [&str; 24] = [
    "a b",
    " a",
    "a ",
    "a\nb",
    "-rf",
    "...",
    "..a",
    "report..final.md",
    "[...slug].ts",
    "a\\b",
    "a:b",
    "a%2Fb",
    "a#b",
    "a?b=c&d",
    "a*",
    "a+b",
    "~",
    ".keep",
    ".tmp",
    "'\"`$(x)",
    "ünï",
    "日本語",
    "🦀",
    "\u{7f}\u{1}",
];

pub(super) async fn names_unusual(fs: Fs) -> Outcome {
    let base = path("/d")?;
    for name in UNUSUAL {
        put(&fs, base.join(name)?.as_str(), name).await?;
    }
    let mut expected: Vec<&str> = UNUSUAL.to_vec();
    expected.sort_unstable();
    let entries = fs.readdir(&base).await?;
    let found: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    ensure_eq(found, expected, "the names as listed")?;
    for name in UNUSUAL {
        let at = base.join(name)?;
        holds(&fs, at.as_str(), name).await?;
        let beside = base.join(format!("{name}!"))?;
        fs.rename(&at, &beside, TransferOptions::default()).await?;
        fs.copy(&beside, &at, TransferOptions::default()).await?;
        holds(&fs, at.as_str(), name).await?;
        fs.rm(&at, RemoveOptions::default()).await?;
        fs.rm(&beside, RemoveOptions::default()).await?;
        // The same name as a directory.
        put(&fs, at.join("in")?.as_str(), name).await?;
        ensure_eq(tree(&fs, at.as_str()).await?, [at.join("in")?.as_str()], "the tree")?;
        fs.rm(&at, RemoveOptions::recursive()).await?;
    }
    tree_is(&fs, &["/d"]).await
}

pub(super) async fn names_long(fs: Fs) -> Outcome {
    let at = format!("/{}/{}", "d".repeat(255), "f".repeat(255));
    put(&fs, &at, "long").await?;
    holds(&fs, &at, "long").await?;
    ensure(tree(&fs, "/").await?.contains(&at), "a name of 255 bytes is not listed as it is")
}

pub(super) async fn names_case(fs: Fs) -> Outcome {
    put(&fs, "/name", "small").await?;
    put(&fs, "/Name", "large").await?;
    holds(&fs, "/name", "small").await?;
    holds(&fs, "/Name", "large").await?;
    tree_is(&fs, &["/Name", "/name"]).await
}

pub(super) async fn names_deep(fs: Fs) -> Outcome {
    let directories = "/0123456789".repeat(60);
    let at = format!("{directories}/file");
    put(&fs, &at, "deep").await?;
    holds(&fs, &at, "deep").await?;
    ensure_eq(tree(&fs, &directories).await?, [at.as_str()], "what is below sixty directories")?;
    fs.rename(&path(&at)?, &path("/file")?, TransferOptions::default()).await?;
    fs.rm(&path("/0123456789")?, RemoveOptions::recursive()).await?;
    tree_is(&fs, &["/file"]).await
}

pub(super) async fn names_composed(fs: Fs) -> Outcome {
    let (composed, decomposed) = ("/\u{e9}", "/e\u{301}");
    put(&fs, composed, "one").await?;
    put(&fs, decomposed, "two").await?;
    holds(&fs, composed, "one").await?;
    holds(&fs, decomposed, "two").await?;
    tree_is(&fs, &[decomposed, composed]).await
}
