use agentx_resource::{ExecRequest, FileSystemExt, MkdirOptions, ProcessExt, ResourcePath};

use super::support::{Subject, path};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq},
};

/// What `pwd` prints in `cwd`.
async fn pwd(pair: &Subject, cwd: ResourcePath) -> Result<String, Failure> {
    let output = pair.process.exec(ExecRequest::program("pwd", [""; 0]).with_cwd(cwd)).await?;
    ensure(output.status.success(), format!("pwd fails: {output:?}"))?;
    Ok(output.stdout_text().trim_end_matches('\n').to_owned())
}

pub(super) async fn pair_root(pair: Subject) -> Outcome {
    let root = pair.process.capabilities().root;
    let whole = root == "/" || !root.ends_with('/');
    ensure(
        root.starts_with('/') && whole,
        format!("the root is {root:?}: relative, or with a slash at its end"),
    )?;
    ensure_eq(pwd(&pair, ResourcePath::root()).await?, root, "what pwd prints at the root")
}

pub(super) async fn pair_pwd(pair: Subject) -> Outcome {
    for at in ["/d", "/d/a b", "/d/a b/ünï", "/[x]"] {
        let at = path(at)?;
        pair.files.mkdir(&at, MkdirOptions::recursive()).await?;
        let printed = pwd(&pair, at.clone()).await?;
        ensure_eq(pair.meant(&printed)?, at, format!("the directory that pwd prints as {printed:?}"))?;
    }
    Ok(())
}

pub(super) async fn pair_path_printed(pair: Subject) -> Outcome {
    pair.files.mkdir(&path("/d/sub dir")?, MkdirOptions::recursive()).await?;
    pair.files.write_file(&path("/d/sub dir/ünï")?, "x").await?;
    pair.tee("d/f", b"x").await?;
    let printed = pair.done("find", &[&pair.seen(&path("/d")?)]).await?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&printed).lines() {
        let at = pair.meant(line)?;
        pair.files.metadata(&at).await?;
        found.push(at.to_string());
    }
    found.sort_unstable();
    ensure_eq(found, ["/d", "/d/f", "/d/sub dir", "/d/sub dir/ünï"], "the paths that a command prints")
}

pub(super) async fn pair_path_given(pair: Subject) -> Outcome {
    pair.files.mkdir(&path("/d")?, MkdirOptions::default()).await?;
    let at = path("/d/a b")?;
    pair.files.write_file(&at, "by files").await?;
    pair.cats(&pair.seen(&at), "by files").await?;
    pair.tee(&pair.seen(&at), b"by a command").await?;
    pair.holds("/d/a b", "by a command").await
}

pub(super) async fn pair_path_relative(pair: Subject) -> Outcome {
    let directory = path("/d/sub")?;
    pair.files.mkdir(&directory, MkdirOptions::recursive()).await?;
    pair.files.write_file(&path("/d/sub/f")?, "here").await?;
    pair.files.write_file(&path("/f")?, "elsewhere").await?;
    for name in ["f", "./f"] {
        let request = ExecRequest::program("cat", [name]).with_cwd(directory.clone());
        let output = pair.process.exec(request).await?;
        ensure_eq(output.stdout_text(), "here", format!("what {name} holds"))?;
    }
    Ok(())
}
