//! Symbolic links and execute bits, which a store has no place for: a note in it names them, and in the next container
//! they are made again. Commands of the container do both, since no verb of a file system does.

use std::collections::{BTreeMap, BTreeSet};

use agentx_resource::{
    Error, ErrorKind, ExecRequest, FileSystem, OutputLimit, Process, ProcessExt, ReadOptions, ResourcePath,
    Result, Stdin, WriteOptions, mirror::MirrorOptions,
};
use serde::{Deserialize, Serialize};

use crate::container::http::fail;

/// Where the note is in the store: below the mirror's own name, so that it is no part of the tree.
const NOTE: &str = "/.agentx-mirror/links";

/// The longest note, in bytes.
const MAX_NOTE: usize = 16 << 20;

/// Three texts for each, with NUL behind each: `l`, the link and its target; or `x`, the file and `-`. The line end behind a
/// target is taken away with a mark behind it, since a shell would take away more.
const FIND: &str = r#"exec find . -name '.agentx-mirror*' -prune -o -type l -exec sh -c '
for link do target=$(readlink -- "$link" && echo .) && printf "l\0%s\0%s\0" "$link" "${target%??}"; done' sh {} + \
-o -type f -perm -u=x -exec sh -c 'for file do printf "x\0%s\0-\0" "$file"; done' sh {} +"#;

/// What is there already stays as it is, and what lost its directory is gone.
const MAKE: &str = r#"exec xargs -0 -n 3 -P 4 sh -c '
case $1 in
  l) [ -e "$2" ] || [ -L "$2" ] || [ ! -d "${2%/*}" ] || ln -s -- "$3" "$2" ;;
  x) [ ! -f "$2" ] || [ -L "$2" ] || chmod +x -- "$2" ;;
esac' sh"#;

/// What a tree has of them, by paths below its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Links {
    links: BTreeMap<String, String>,
    executable: BTreeSet<String>,
}

impl Links {
    /// Those that the tree of a container has. Names that are no text are passed over, as in a mirror.
    pub(super) async fn find(process: &dyn Process, options: &MirrorOptions) -> Result<Self> {
        let request = ExecRequest::shell(FIND).with_output_limit(OutputLimit::kill(MAX_NOTE as u64));
        let output = process.exec(request).await?;
        if !output.status.success() {
            return Err(fail(ErrorKind::Internal, "find links").with_message(format!(
                "{}: {}",
                output.status,
                output.stderr_text().trim()
            )));
        }
        Ok(Self::read(&output.stdout, options))
    }

    fn read(told: &[u8], options: &MirrorOptions) -> Self {
        let (mut all, mut texts) = (Self::default(), told.split(|byte| *byte == 0));
        while let (Some(kind), Some(path), Some(target)) = (texts.next(), texts.next(), texts.next()) {
            let (Ok(path), Ok(target)) = (str::from_utf8(path), str::from_utf8(target)) else { continue };
            let known = path.strip_prefix('.').and_then(|path| ResourcePath::new(path).ok());
            let Some(path) = known.filter(|path| options.mirrors(path)) else { continue };
            match kind {
                b"l" => drop(all.links.insert(path.as_str().to_owned(), target.to_owned())),
                _ => drop(all.executable.insert(path.as_str().to_owned())),
            }
        }
        all
    }

    /// Makes them in a container whose tree has come from the store.
    pub(super) async fn make(&self, process: &dyn Process) -> Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        let links = self.links.iter().map(|(path, target)| ("l", path, target.as_str()));
        let files = self.executable.iter().map(|path| ("x", path, "-"));
        let mut told = String::new();
        for (kind, path, target) in links.chain(files) {
            told.extend([kind, "\0.", path, "\0", target, "\0"]);
        }
        let output = process.exec(ExecRequest::shell(MAKE).with_stdin(Stdin::Bytes(told.into()))).await?;
        if output.status.success() {
            return Ok(());
        }
        Err(fail(ErrorKind::Internal, "make links").with_message(format!(
            "{}: {}",
            output.status,
            output.stderr_text().trim()
        )))
    }

    /// Those that the note in the store names; none where there is no note.
    pub(super) async fn load(store: &dyn FileSystem) -> Result<Self> {
        let path = ResourcePath::new(NOTE)?;
        let note = match store.read(&path, ReadOptions::default()).await {
            Ok(read) => read.bytes(MAX_NOTE as u64).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let links: Self = serde_json::from_slice(&note).map_err(|error| corrupt(&path, error))?;
        let all = links.links.keys().chain(&links.executable);
        // A path that is written as another one would lead elsewhere.
        if all.clone().any(|path| ResourcePath::new(path).map_or(true, |parsed| parsed.as_str() != path)) {
            return Err(fail(ErrorKind::Corrupt, "read links")
                .with_path(&path)
                .with_message("a path is none"));
        }
        Ok(links)
    }

    /// Writes the note.
    pub(super) async fn save(&self, store: &dyn FileSystem) -> Result<()> {
        let path = ResourcePath::new(NOTE)?;
        let note = serde_json::to_vec(self).map_err(|error| corrupt(&path, error))?;
        store.write(&path, note.into(), WriteOptions::default().with_create_parents()).await.map(drop)
    }
}

fn corrupt(path: &ResourcePath, error: serde_json::Error) -> Error {
    fail(ErrorKind::Corrupt, "read links").with_path(path).with_source(error)
}

#[cfg(test)]
mod tests {
    use agentx_resource::{FileSystemExt, memory::MemoryFileSystem};
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn what_is_found_is_noted_and_what_is_not_mirrored_is_not() {
        let told = b"l\0./a/link\0../b c\n\0x\0./run.sh\0-\0x\0./node_modules/x\0-\0l\0./\xff\0t\0x\0./cut";
        let options = MirrorOptions::new("/w").with_exclude_name("node_modules");
        let links = Links::read(told, &options);
        assert_eq!(links.links, BTreeMap::from([("/a/link".to_owned(), "../b c\n".to_owned())]));
        assert_eq!(links.executable, BTreeSet::from(["/run.sh".to_owned()]));
        let store = MemoryFileSystem::new();
        block_on(async {
            assert_eq!(Links::load(&store).await.unwrap(), Links::default());
            links.save(&store).await.unwrap();
            assert_eq!(Links::load(&store).await.unwrap(), links);
        });
    }

    #[test]
    fn a_note_that_leads_elsewhere_is_refused() {
        let store = MemoryFileSystem::new();
        block_on(async {
            Links::default().save(&store).await.unwrap();
            let path = ResourcePath::new(NOTE).unwrap();
            for note in [
                r#"{"links": {"/../x": "/etc"}, "executable": []}"#,
                r#"{"links": {}, "executable": ["x"]}"#,
                r#"{"links": {"/a/./b": ""}, "executable": []}"#,
                "{}",
            ] {
                store.write_file(&path, note).await.unwrap();
                assert_eq!(Links::load(&store).await.unwrap_err().kind(), ErrorKind::Corrupt, "{note}");
            }
        });
    }
}
