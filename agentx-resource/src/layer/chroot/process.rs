use std::sync::Arc;

use async_trait::async_trait;

use super::Chroot;
use crate::{Child, Error, ExecRequest, Process, ProcessCapabilities, ResourcePath, Result};

#[derive(Debug)]
pub(super) struct ChrootProcess {
    inner: Arc<dyn Process>,
    view: Chroot,
}

impl ChrootProcess {
    pub(super) fn new(inner: Arc<dyn Process>, view: Chroot) -> Self {
        Self { inner, view }
    }
}

#[async_trait]
impl Process for ChrootProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        let mut capabilities = self.inner.capabilities();
        if !self.view.base.is_root() {
            let root = capabilities.root.trim_end_matches('/');
            capabilities.root = format!("{root}{}", self.view.base);
        }
        capabilities
    }

    async fn spawn(&self, mut request: ExecRequest) -> Result<Box<dyn Child>> {
        let cwd = request.cwd.clone();
        request.cwd = self.view.inner(&cwd)?;
        self.inner.spawn(request).await.map_err(|error| self.error(error, &cwd))
    }
}

impl ChrootProcess {
    /// The subject of an error may be a program, which is no place below the base: it stays as it is.
    fn error(&self, error: Error, cwd: &ResourcePath) -> Error {
        let about_cwd = error
            .path()
            .is_some_and(|path| ResourcePath::new(path).is_ok_and(|path| path.starts_with(&self.view.base)));
        if about_cwd { self.view.error(error, cwd) } else { error }
    }
}
