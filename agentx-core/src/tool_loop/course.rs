use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use agentx_resource::BoxFuture;
use futures::{FutureExt, Stream};

use super::run::Run;
use crate::{DriverEvent, Model};

/// The events of a turn.
pub(super) enum Course<M> {
    /// Between steps, or within an answer.
    Rest(Box<Run<M>>),
    /// Within a step, which has the turn until its event is there.
    Step(BoxFuture<'static, (Box<Run<M>>, Option<DriverEvent>)>),
    Over,
}

impl<M: Model> Stream for Course<M> {
    type Item = DriverEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DriverEvent>> {
        let course = self.get_mut();
        loop {
            let (next, event) = match course {
                Self::Rest(run) => match ready!(run.poll_answer(cx)) {
                    Some(event) => return Poll::Ready(Some(event)),
                    None => match mem::replace(course, Self::Over) {
                        Self::Rest(run) => (Self::Step(step(run).boxed()), None),
                        other => (other, None),
                    },
                },
                Self::Step(step) => {
                    let (run, event) = ready!(step.poll_unpin(cx));
                    (if run.is_over() { Self::Over } else { Self::Rest(run) }, event)
                }
                Self::Over => return Poll::Ready(None),
            };
            *course = next;
            if event.is_some() {
                return Poll::Ready(event);
            }
        }
    }
}

async fn step<M: Model>(mut run: Box<Run<M>>) -> (Box<Run<M>>, Option<DriverEvent>) {
    let event = run.next().await;
    (run, event)
}
