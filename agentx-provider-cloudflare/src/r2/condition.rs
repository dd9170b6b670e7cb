//! Conditional writes whose answer was lost.
//!
//! A client repeats a request that broke off. Where the first one had its effect, the second one finds the object that
//! the first one wrote, and is refused: told as it is, one's own success would look like somebody else's. So each
//! conditional write carries an id in the object's metadata, and where an attempt had no answer, the object is asked
//! whose it is.

use agentx_resource::{ErrorKind, ResourcePath, Result, Retry};
use object_store::{
    Attribute, Attributes, GetOptions, PutMode, PutOptions, PutPayload, PutResult, path::Path,
};
use uuid::Uuid;

use super::{R2FileSystem, bucket::Attempts, error, error::fail};

/// The metadata with the id of the write that made the object.
const WRITE: &str = "agentx-write";

/// What an object says of the write that made it.
struct Found {
    write: Option<String>,
    e_tag: Option<String>,
}

impl R2FileSystem {
    /// Puts one object, without a look at its surroundings.
    pub(super) async fn put_at(
        &self,
        key: &Path,
        payload: PutPayload,
        mode: PutMode,
        path: &ResourcePath,
        operation: &'static str,
    ) -> Result<PutResult> {
        let mut options = PutOptions::from(mode.clone());
        let id = if mode == PutMode::Overwrite { None } else { self.write_id(&mut options.attributes) };
        let attempts = Attempts::default();
        options.extensions.insert(attempts.clone());
        let error = match self.store.put_opts(key, payload, options).await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        if let Some(id) = id.filter(|_| attempts.unclear()) {
            return self.resolve(key, &id, &mode, error, path, operation).await;
        }
        if attempts.conflict() && !is_refusal(&error) {
            let busy = fail(ErrorKind::Busy, operation, path).with_retry(Retry::Exhausted);
            return Err(busy.with_source(error));
        }
        let kind = match (&error, mode) {
            // Some stores have one answer for both conditions; and what is missing fails a condition too.
            (error, PutMode::Create) if is_refusal(error) => ErrorKind::AlreadyExists,
            (object_store::Error::NotFound { .. }, PutMode::Update(_)) => ErrorKind::ConditionFailed,
            _ => return Err(error::store(error, operation, path)),
        };
        Err(fail(kind, operation, path).with_source(error))
    }

    /// Gives what is about to be written an id, where the store keeps it.
    pub(super) fn write_id(&self, attributes: &mut Attributes) -> Option<String> {
        self.s3.then(|| {
            let id = Uuid::now_v7().to_string();
            attributes.insert(Attribute::Metadata(WRITE.into()), id.clone().into());
            id
        })
    }

    /// What became of a write whose last answer is `error`, and one of whose attempts had none.
    async fn resolve(
        &self,
        key: &Path,
        id: &str,
        mode: &PutMode,
        error: object_store::Error,
        path: &ResourcePath,
        operation: &'static str,
    ) -> Result<PutResult> {
        let Ok(found) = self.found(key).await else { return Err(lost(error, path, operation)) };
        let e_tag = found.as_ref().and_then(|found| found.e_tag.clone());
        if found.as_ref().is_some_and(|found| found.write.as_deref() == Some(id)) {
            return Ok(PutResult { e_tag, version: None, extensions: object_store::Extensions::new() });
        }
        let unchanged = match mode {
            PutMode::Create => found.is_none(),
            PutMode::Update(version) => e_tag.is_some() && e_tag == version.e_tag,
            PutMode::Overwrite => false,
        };
        // After a refusal, what looks unchanged has changed, and changed back.
        if unchanged && !is_refusal(&error) {
            return Err(error::store(error, operation, path));
        }
        Err(lost(error, path, operation))
    }

    /// Whether the write with this id made what is at `key` now; what the object says then.
    pub(super) async fn made_by(&self, key: &Path, id: &str) -> Option<PutResult> {
        let found =
            self.found(key).await.ok().flatten().filter(|found| found.write.as_deref() == Some(id))?;
        Some(PutResult { e_tag: found.e_tag, version: None, extensions: object_store::Extensions::new() })
    }

    async fn found(&self, key: &Path) -> object_store::Result<Option<Found>> {
        match self.store.get_opts(key, GetOptions::new().with_head(true)).await {
            Ok(object) => {
                let write = object.attributes.get(&Attribute::Metadata(WRITE.into()));
                let write = write.map(|write| write.as_ref().to_owned());
                Ok(Some(Found { write, e_tag: object.meta.e_tag }))
            }
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the store says that the condition does not hold.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{AlreadyExists, NotModified, Precondition};
    matches!(error, AlreadyExists { .. } | NotModified { .. } | Precondition { .. })
}

/// Somebody else's write stands there now. Ours came before it, or never.
fn lost(error: object_store::Error, path: &ResourcePath, operation: &'static str) -> agentx_resource::Error {
    fail(ErrorKind::Lost, operation, path)
        .with_message("the answer to a conditional write was lost")
        .with_source(error)
}
