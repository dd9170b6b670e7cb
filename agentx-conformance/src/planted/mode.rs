use agentx_resource::{
    ErrorKind, FileSystemExt, RemoveOptions, TransferOptions, Version, WriteMode, WriteOptions,
};
use bytes::Bytes;

use super::support::{Garden, all_are, path};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Fails unless `at` has these bits.
async fn has(garden: &Garden, at: &str, bits: u32) -> Outcome {
    let found = garden.files.metadata(&path(at)?).await?.mode;
    ensure_eq(found.map(octal), Some(octal(bits)), format!("the permission bits of {at}"))
}

fn octal(bits: u32) -> String {
    format!("{bits:o}")
}

pub(super) async fn mode_told(garden: Garden) -> Outcome {
    garden.put("/d/f", "x").await?;
    for bits in [0o640, 0o755, 0o600] {
        if !garden.mode("/d/f", bits)? {
            return Ok(());
        }
        has(&garden, "/d/f", bits).await?;
        let entries = garden.files.readdir(&path("/d")?).await?;
        let listed = entries.first().and_then(|entry| entry.metadata.mode);
        ensure_eq(listed.map(octal), Some(octal(bits)), "the permission bits as listed")?;
    }
    garden.mode("/d", 0o711)?;
    has(&garden, "/d", 0o711).await
}

pub(super) async fn mode_replaced(garden: Garden) -> Outcome {
    garden.put("/f", "one").await?;
    if !garden.mode("/f", 0o751)? {
        return Ok(());
    }
    let at = path("/f")?;
    let written = garden.files.write_file(&at, "two").await?;
    ensure_eq(written.mode.map(octal), Some(octal(0o751)), "the permission bits that a write answers")?;
    has(&garden, "/f", 0o751).await?;
    let mut writer = garden.files.writer(&at, WriteOptions::default()).await?;
    writer.write(Bytes::from_static(b"three")).await?;
    writer.close().await?;
    has(&garden, "/f", 0o751).await?;
    if garden.files.capabilities().append {
        garden.files.append(&at, "more").await?;
        has(&garden, "/f", 0o751).await?;
    }
    if garden.files.capabilities().if_match.is_some() {
        let version = garden.files.metadata(&at).await?.version.unwrap_or_else(|| Version::new(""));
        garden.files.write(&at, Bytes::from_static(b"x"), WriteMode::IfMatch(version).into()).await?;
        has(&garden, "/f", 0o751).await?;
    }
    Ok(())
}

pub(super) async fn mode_renamed(garden: Garden) -> Outcome {
    garden.put("/f", "x").await?;
    garden.put("/d/g", "x").await?;
    if !garden.mode("/f", 0o700)? {
        return Ok(());
    }
    garden.mode("/d", 0o750)?;
    garden.rename("/f", "/to").await?;
    garden.rename("/d", "/e").await?;
    has(&garden, "/to", 0o700).await?;
    has(&garden, "/e", 0o750).await
}

pub(super) async fn mode_renamed_onto(garden: Garden) -> Outcome {
    garden.put("/f", "moved").await?;
    garden.put("/to", "replaced").await?;
    if !garden.mode("/f", 0o700)? {
        return Ok(());
    }
    garden.mode("/to", 0o604)?;
    garden.rename("/f", "/to").await?;
    has(&garden, "/to", 0o700).await
}

pub(super) async fn mode_copied(garden: Garden) -> Outcome {
    garden.put("/f", "x").await?;
    if !garden.mode("/f", 0o755)? {
        return Ok(());
    }
    garden.copy("/f", "/to").await?;
    has(&garden, "/to", 0o755).await?;
    has(&garden, "/f", 0o755).await
}

pub(super) async fn mode_copied_onto(garden: Garden) -> Outcome {
    garden.put("/f", "copied").await?;
    garden.put("/to", "replaced").await?;
    if !garden.mode("/f", 0o755)? {
        return Ok(());
    }
    garden.mode("/to", 0o640)?;
    garden.copy("/f", "/to").await?;
    garden.holds("/to", "copied").await?;
    has(&garden, "/to", 0o640).await
}

pub(super) async fn mode_copied_tree(garden: Garden) -> Outcome {
    garden.put("/d/sub/run.sh", "#!").await?;
    if !garden.mode("/d/sub/run.sh", 0o744)? {
        return Ok(());
    }
    garden.mode("/d/sub", 0o500)?;
    garden.copy("/d", "/e").await?;
    has(&garden, "/e/sub/run.sh", 0o744).await?;
    has(&garden, "/e/sub", 0o500).await?;
    for at in ["/d/sub", "/e/sub"] {
        garden.mode(at, 0o755)?;
    }
    Ok(())
}

pub(super) async fn mode_sealed_file(garden: Garden) -> Outcome {
    garden.put("/f", "kept").await?;
    if garden.plant.is_privileged() || !garden.mode("/f", 0o000)? {
        return Ok(());
    }
    let at = path("/f")?;
    ensure(garden.files.exists(&at).await?, "a file that can't be read does not exist")?;
    ensure_kind(garden.files.read_file(&at).await, ErrorKind::PermissionDenied, "read")?;
    ensure_kind(garden.copy("/f", "/to").await, ErrorKind::PermissionDenied, "copy")?;
    garden.mode("/f", 0o444)?;
    all_are(garden.writes("/f").await?, ErrorKind::PermissionDenied, "a file without write permission")?;
    garden.holds("/f", "kept").await?;
    // Whether an entry may go is for its directory to say.
    garden.files.rm(&at, RemoveOptions::default()).await?;
    Ok(())
}

pub(super) async fn mode_sealed_directory(garden: Garden) -> Outcome {
    garden.put("/d/f", "kept").await?;
    if garden.plant.is_privileged() || !garden.mode("/d", 0o000)? {
        return Ok(());
    }
    let below = path("/d/f")?;
    all_are(garden.reads("/d/f").await?, ErrorKind::PermissionDenied, "in a sealed directory")?;
    all_are(garden.writes("/d/f").await?, ErrorKind::PermissionDenied, "in a sealed directory")?;
    ensure_kind(
        garden.files.exists(&below).await,
        ErrorKind::PermissionDenied,
        "whether something exists there",
    )?;
    ensure_kind(garden.files.readdir(&path("/d")?).await, ErrorKind::PermissionDenied, "list")?;
    ensure_kind(garden.files.rm_all(&below).await, ErrorKind::PermissionDenied, "rm")?;
    let to = path("/to")?;
    let moved = garden.files.rename(&below, &to, TransferOptions::default()).await;
    ensure_kind(moved, ErrorKind::PermissionDenied, "rename")?;
    garden.mode("/d", 0o755)?;
    garden.holds("/d/f", "kept").await
}
