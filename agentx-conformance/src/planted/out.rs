use agentx_resource::{ErrorKind, FileSystemExt, MkdirOptions, RemoveOptions, TransferOptions, WriteOptions};
use bytes::Bytes;
use futures::TryStreamExt;

use super::support::{Garden, all_are, path};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Fails for a plant that names no place outside, where links are declared.
fn some(ways: usize, garden: &Garden) -> Outcome {
    ensure(ways > 0 || !garden.files.capabilities().symlinks, "the plant names no place outside of the root")
}

/// Links at the root that lead to the directory outside: their paths, and where they lead.
fn ways_out(garden: &Garden) -> Result<Vec<(String, String)>, Failure> {
    let mut ways = Vec::new();
    for (number, target) in garden.plant.outside().into_iter().enumerate() {
        let at = format!("/out{number}");
        if garden.link(&target, &at)? {
            ways.push((at, target));
        }
    }
    some(ways.len(), garden)?;
    Ok(ways)
}

/// The same to the file `secret` there, and to one that is not there.
fn ways_to_files(garden: &Garden) -> Result<Vec<String>, Failure> {
    let mut ways = Vec::new();
    for (number, target) in garden.plant.outside().into_iter().enumerate() {
        for name in ["secret", "missing"] {
            let at = format!("/{name}{number}");
            if garden.link(&format!("{target}/{name}"), &at)? {
                ways.push(at);
            }
        }
    }
    // By way of another link, which leads nowhere wrong itself.
    if garden.link("secret0", "/chain")? {
        ways.push("/chain".to_owned());
    }
    some(garden.plant.outside().len(), garden)?;
    Ok(ways)
}

pub(super) async fn out_read(garden: Garden) -> Outcome {
    for at in ways_to_files(&garden)? {
        all_are(garden.reads(&at).await?, ErrorKind::Escapes, &at)?;
    }
    for (at, _) in ways_out(&garden)? {
        all_are(garden.reads(&at).await?, ErrorKind::Escapes, &at)?;
        let recursive: Result<Vec<_>, _> = garden.files.walk(&path(&at)?).try_collect().await;
        ensure_kind(recursive, ErrorKind::Escapes, "a recursive list")?;
    }
    Ok(())
}

pub(super) async fn out_write(garden: Garden) -> Outcome {
    for at in ways_to_files(&garden)? {
        all_are(garden.writes(&at).await?, ErrorKind::Escapes, &at)?;
        ensure_kind(garden.files.create_new(&path(&at)?, "x").await, ErrorKind::Escapes, "create new")?;
    }
    garden.outside_is_untouched()
}

pub(super) async fn out_below(garden: Garden) -> Outcome {
    garden.put("/own", "kept").await?;
    for (at, _) in ways_out(&garden)? {
        let (own, stolen) = (path("/own")?, path("/stolen")?);
        for name in ["secret", "missing", "deep/missing"] {
            let below = format!("{at}/{name}");
            all_are(garden.reads(&below).await?, ErrorKind::Escapes, &below)?;
            all_are(garden.writes(&below).await?, ErrorKind::Escapes, &below)?;
            let below = path(&below)?;
            let parents = WriteOptions::default().with_create_parents();
            let done = vec![
                ("write", garden.files.write(&below, Bytes::from_static(b"x"), parents).await.map(drop)),
                ("create new", garden.files.create_new(&below, "x").await.map(drop)),
                ("mkdir", garden.files.mkdir(&below, MkdirOptions::default()).await),
                ("recursive mkdir", garden.files.mkdir(&below, MkdirOptions::recursive()).await),
                ("rm", garden.files.rm_all(&below).await),
                ("rename", garden.files.rename(&below, &stolen, TransferOptions::default()).await),
                ("rename onto", garden.files.rename(&own, &below, TransferOptions::default()).await),
            ];
            all_are(done, ErrorKind::Escapes, below.as_str())?;
        }
    }
    garden.outside_is_untouched()
}

pub(super) async fn out_exists(garden: Garden) -> Outcome {
    for at in ways_to_files(&garden)? {
        ensure_kind(garden.files.exists(&path(&at)?).await, ErrorKind::Escapes, at)?;
    }
    Ok(())
}

pub(super) async fn out_itself(garden: Garden) -> Outcome {
    garden.put("/f", "moved").await?;
    for (at, target) in ways_out(&garden)? {
        garden.leads(&at, &target).await?;
        garden.rename(&at, "/moved").await?;
        garden.leads("/moved", &target).await?;
        garden.files.rm(&path("/moved")?, RemoveOptions::recursive()).await?;
        garden.is_gone("/moved").await?;
    }
    garden.tree_is(&["/f"]).await?;
    garden.outside_is_untouched()
}

pub(super) async fn out_tree(garden: Garden) -> Outcome {
    garden.put("/d/f", "x").await?;
    for (at, _) in ways_out(&garden)? {
        garden.rename(&at, &format!("/d{at}")).await?;
    }
    let before = garden.files.readdir(&path("/d")?).await?.len();
    let all: Vec<_> = garden.files.walk(&path("/d")?).try_collect().await?;
    ensure_eq(all.len(), before, "a recursive list, which enters no link")?;
    garden.copy("/d", "/e").await?;
    ensure_eq(garden.files.readdir(&path("/e")?).await?.len(), before, "what is copied")?;
    for at in ["/d", "/e"] {
        garden.files.rm(&path(at)?, RemoveOptions::recursive()).await?;
    }
    garden.tree_is(&[]).await?;
    garden.outside_is_untouched()
}

pub(super) async fn out_prefix(garden: Garden) -> Outcome {
    let root = garden.plant.absolute(&path("/")?);
    // The root's own name, with more behind it, is another directory.
    for (number, target) in [format!("{root}-beside/f"), format!("{root}/../f")].into_iter().enumerate() {
        let at = format!("/l{number}");
        if !garden.link(&target, &at)? {
            return Ok(());
        }
        all_are(garden.reads(&at).await?, ErrorKind::Escapes, &target)?;
    }
    Ok(())
}

pub(super) async fn out_error_subject(garden: Garden) -> Outcome {
    for (at, _) in ways_out(&garden)? {
        let below = path(&at)?.join("secret")?;
        let errors = [
            ("read", garden.files.read_file(&below).await.err()),
            ("stat", garden.files.metadata(&below).await.err()),
            ("write", garden.files.write_file(&below, "x").await.err()),
            ("list", garden.files.readdir(&below).await.err()),
            ("mkdir", garden.files.mkdir(&below, MkdirOptions::default()).await.err()),
            ("rm", garden.files.rm(&below, RemoveOptions::default()).await.err()),
        ];
        for (operation, error) in errors {
            let Some(error) = error else { return Err(Failure::new(format!("{operation} is no error"))) };
            ensure_eq(error.operation(), operation, "the error's operation")?;
            ensure_eq(error.path(), Some(below.as_str()), "the subject that the error names")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentx_resource::ResourcePath;
    use futures::executor::block_on;

    use super::*;
    use crate::planted::{Growth, Plant, Planted, memory};

    /// A plant that knows of nothing outside.
    #[derive(Debug)]
    struct Inside(Arc<dyn Plant>);

    impl Plant for Inside {
        fn symlink(&self, target: &str, at: &ResourcePath) -> Growth {
            self.0.symlink(target, at)
        }

        fn hard_link(&self, existing: &ResourcePath, at: &ResourcePath) -> Growth {
            self.0.hard_link(existing, at)
        }

        fn set_mode(&self, at: &ResourcePath, bits: u32) -> Growth {
            self.0.set_mode(at, bits)
        }

        fn special(&self, at: &ResourcePath) -> Growth {
            self.0.special(at)
        }

        fn unaddressable(&self, directory: &ResourcePath, content: &str) -> Growth {
            self.0.unaddressable(directory, content)
        }

        fn absolute(&self, path: &ResourcePath) -> String {
            self.0.absolute(path)
        }

        fn outside(&self) -> Vec<String> {
            Vec::new()
        }

        fn touched(&self) -> Option<String> {
            self.0.touched()
        }

        fn is_privileged(&self) -> bool {
            self.0.is_privileged()
        }
    }

    #[test]
    fn a_plant_that_leads_nowhere_out_proves_nothing() {
        let garden = || {
            let (files, plant) = memory();
            Arc::new(Planted { files, plant: Arc::new(Inside(plant)) })
        };
        for outcome in [
            block_on(out_read(garden())),
            block_on(out_write(garden())),
            block_on(out_below(garden())),
            block_on(out_exists(garden())),
            block_on(out_itself(garden())),
            block_on(out_tree(garden())),
            block_on(out_error_subject(garden())),
        ] {
            assert!(outcome.unwrap_err().to_string().contains("names no place outside"));
        }
    }
}
