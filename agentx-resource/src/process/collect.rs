use bytes::BytesMut;

use super::{ExecEvent, ExecOutput, ExitStatus, OutputStream};

/// Makes an output of the events of one command.
#[derive(Debug, Default)]
pub(super) struct Collector {
    stdout: Stream,
    stderr: Stream,
    status: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Stream {
    bytes: BytesMut,
    /// How long the head is, and how many bytes are missing behind it.
    cut: Option<(usize, u64)>,
}

impl Collector {
    pub(super) fn push(&mut self, event: ExecEvent) {
        match event {
            ExecEvent::Stdout(bytes) => self.stdout.bytes.extend_from_slice(&bytes),
            ExecEvent::Stderr(bytes) => self.stderr.bytes.extend_from_slice(&bytes),
            ExecEvent::Truncated { stream: OutputStream::Stdout, dropped } => self.stdout.cut(dropped),
            ExecEvent::Truncated { stream: OutputStream::Stderr, dropped } => self.stderr.cut(dropped),
            ExecEvent::Exited(status) => self.status = Some(status),
        }
    }

    pub(super) fn finish(self) -> ExecOutput {
        let mut output = ExecOutput::new(self.status.unwrap_or(ExitStatus::Lost));
        (output.stdout_head, output.stdout_dropped) = self.stdout.head();
        (output.stderr_head, output.stderr_dropped) = self.stderr.head();
        output.stdout = self.stdout.bytes.freeze();
        output.stderr = self.stderr.bytes.freeze();
        output
    }
}

impl Stream {
    fn cut(&mut self, dropped: u64) {
        self.cut = Some((self.bytes.len(), dropped));
    }

    fn head(&self) -> (usize, u64) {
        self.cut.unwrap_or((self.bytes.len(), 0))
    }
}
