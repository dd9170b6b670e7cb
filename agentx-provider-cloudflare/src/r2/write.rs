use agentx_resource::{
    ErrorKind, FileWriter, Metadata, MkdirOptions, ResourcePath, Result, Version, WriteMode, WriteOptions,
};
use bytes::Bytes;
use object_store::{PutMode, PutPayload, PutResult, UpdateVersion};

use super::{R2FileSystem, error::fail, key, place::Place, writer::R2Writer};

impl R2FileSystem {
    pub(super) async fn publish(
        &self,
        path: &ResourcePath,
        data: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata> {
        let len = data.len() as u64;
        let (WriteMode::IfMatch(version), true) = (&options.mode, self.if_match && !path.is_root()) else {
            self.prepare(path, options).await?;
            let result = self.put(path, data, put_mode(&options.mode), "write").await?;
            return Ok(written(len, &result));
        };
        // A file that still has its version is there, in a directory: one request, and no look before it.
        let version = UpdateVersion { e_tag: Some(self.e_tag(version).into_owned()), version: None };
        match self.put(path, data, PutMode::Update(version), "write").await {
            Err(error) if error.kind() == ErrorKind::ConditionFailed => {
                // Where something else than a file is there, that is told.
                self.check_write(path, options).await?;
                Err(error)
            }
            result => Ok(written(len, &result?)),
        }
    }

    /// Puts one object, without a look at its surroundings.
    pub(super) async fn put(
        &self,
        path: &ResourcePath,
        data: Bytes,
        mode: PutMode,
        operation: &'static str,
    ) -> Result<PutResult> {
        self.put_at(&key::object(path, operation)?, data.into(), mode, path, operation).await
    }

    pub(super) async fn begin(
        &self,
        path: &ResourcePath,
        options: WriteOptions,
    ) -> Result<Box<dyn FileWriter>> {
        self.check_write(path, &options).await?;
        Ok(Box::new(R2Writer::new(self.clone(), path.clone(), options)))
    }

    /// Everything that comes before the content of a file: the checks, and the missing parents.
    pub(super) async fn prepare(&self, path: &ResourcePath, options: &WriteOptions) -> Result<()> {
        if let Place::NoParent = self.check_write(path, options).await? {
            self.make_parents(path, "write").await?;
        }
        Ok(())
    }

    async fn check_write(&self, path: &ResourcePath, options: &WriteOptions) -> Result<Place> {
        let undeclared = match options.mode {
            WriteMode::Overwrite | WriteMode::CreateNew => false,
            WriteMode::IfMatch(_) => !self.if_match,
            _ => true,
        };
        if undeclared {
            return Err(fail(ErrorKind::Unsupported, "write", path));
        }
        let place = self.place(path, "write").await?;
        let kind = match (&place, &options.mode) {
            (Place::BelowFile, _) => ErrorKind::NotADirectory,
            (Place::NoParent, _) if !options.create_parents => ErrorKind::NotFound,
            (Place::File(_) | Place::Directory, WriteMode::CreateNew) => ErrorKind::AlreadyExists,
            (Place::Directory, _) => ErrorKind::IsADirectory,
            (Place::File(object), WriteMode::IfMatch(version))
                if object.e_tag.as_deref() != Some(version.as_str()) =>
            {
                ErrorKind::ConditionFailed
            }
            (Place::Vacant | Place::NoParent, WriteMode::IfMatch(_)) => ErrorKind::ConditionFailed,
            (Place::File(_) | Place::Vacant | Place::NoParent, _) => return Ok(place),
        };
        Err(fail(kind, "write", path))
    }

    pub(super) async fn make_directory(&self, path: &ResourcePath, options: &MkdirOptions) -> Result<()> {
        let kind = match self.place(path, "mkdir").await? {
            Place::Directory if options.recursive => return Ok(()),
            Place::File(_) | Place::Directory => ErrorKind::AlreadyExists,
            Place::BelowFile => ErrorKind::NotADirectory,
            Place::NoParent if !options.recursive => ErrorKind::NotFound,
            Place::NoParent | Place::Vacant => {
                self.make_parents(path, "mkdir").await?;
                return match self.put_marker(path, "mkdir", PutMode::Create).await {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && options.recursive => Ok(()),
                    result => result,
                };
            }
        };
        Err(fail(kind, "mkdir", path))
    }

    /// With [`PutMode::Create`], one of many racers makes the directory; to the others it is `AlreadyExists`.
    pub(super) async fn put_marker(
        &self,
        path: &ResourcePath,
        operation: &'static str,
        mode: PutMode,
    ) -> Result<()> {
        let marker = key::marker(path, operation)?;
        self.put_at(&marker, PutPayload::new(), mode, path, operation).await.map(drop)
    }
}

fn put_mode(mode: &WriteMode) -> PutMode {
    match mode {
        WriteMode::CreateNew => PutMode::Create,
        WriteMode::IfMatch(version) => {
            PutMode::Update(UpdateVersion { e_tag: Some(version.as_str().to_owned()), version: None })
        }
        // What else there is was refused by `check_write`.
        _ => PutMode::Overwrite,
    }
}

/// What the store says of a write: it names no time.
pub(super) fn written(len: u64, result: &PutResult) -> Metadata {
    let metadata = Metadata::file(len);
    match &result.e_tag {
        Some(e_tag) => metadata.with_version(Version::new(e_tag.as_str())),
        None => metadata,
    }
}
