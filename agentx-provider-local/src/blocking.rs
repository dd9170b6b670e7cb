//! The one way of this crate to the blocking pool.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use agentx_resource::ErrorKind;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::fs::{Done, Fault};

/// Tells long work that nobody waits for it any more.
#[derive(Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Fails once the future that started the work was dropped.
    pub(crate) fn check(&self) -> Done<()> {
        if self.0.load(Ordering::Relaxed) {
            Err(Fault::new(ErrorKind::Cancelled, "nobody waits for the result"))
        } else {
            Ok(())
        }
    }
}

struct Hop<T> {
    task: JoinHandle<T>,
    cancel: Cancel,
}

impl<T> Drop for Hop<T> {
    fn drop(&mut self) {
        self.cancel.0.store(true, Ordering::Relaxed);
        // Work that has not begun never does.
        self.task.abort();
    }
}

/// Runs `work` on tokio's blocking pool, or in place where the caller is not inside a tokio runtime: another
/// executor then waits for it.
///
/// Dropping the future cancels `work` before it begins; afterwards it ends at its next look at [`Cancel`], and what it
/// gives back is dropped.
pub(crate) async fn blocking<T, F>(work: F) -> Done<T>
where
    T: Send + 'static,
    F: FnOnce(&Cancel) -> Done<T> + Send + 'static,
{
    let cancel = Cancel::default();
    let Ok(runtime) = Handle::try_current() else {
        return work(&cancel);
    };
    let seen = cancel.clone();
    let mut hop = Hop { task: runtime.spawn_blocking(move || work(&seen)), cancel };
    match (&mut hop.task).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(Fault::new(ErrorKind::Internal, "the work panicked")),
        Err(_) => Err(Fault::new(ErrorKind::Cancelled, "the runtime shuts down")),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[tokio::test]
    async fn a_dropped_future_ends_the_work_and_drops_what_it_holds() {
        let (started, has_started) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let mut work = Box::pin(blocking(move |cancel| {
            started.send(()).unwrap();
            while cancel.check().is_ok() {
                thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok(())
        }));
        assert!(futures::poll!(&mut work).is_pending());
        has_started.recv().unwrap();
        drop(work);
        has_ended.recv().unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        let fault = blocking(|_| -> Done<()> { panic!("on purpose") }).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Internal);
    }
}
