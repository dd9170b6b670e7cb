use std::{sync::atomic::AtomicBool, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, executor::block_on, future::join};

use super::*;
use crate::{ExecEvent, ExitStatus, OutputLimit, OutputStream, ProcessExt, Stdin, memory::ManualClock};

fn process() -> (MemoryProcess, ManualClock) {
    let clock = ManualClock::default();
    let process = MemoryProcess::new(Arc::new(clock.clone()))
        .program("cat", |mut context| async move {
            while let Some(piece) = context.stdin.read().await {
                context.stdout.write(piece).await;
            }
            0
        })
        .program("yes", |context| async move {
            loop {
                context.stdout.write("y\n").await;
            }
        })
        .program("hang", |context| async move {
            context.stdout.write("begun").await;
            std::future::pending().await
        });
    (process, clock)
}

fn program(name: &str) -> ExecRequest {
    ExecRequest::program(name, [""; 0])
}

#[test]
fn a_timeout_keeps_the_output() {
    let (process, clock) = process();
    let run = process.exec(program("hang").with_timeout(Duration::from_secs(1)));
    let mut run = Box::pin(run);
    assert!((&mut run).now_or_never().is_none());
    clock.advance(Duration::from_secs(1));
    let output = block_on(run).unwrap();
    assert_eq!((output.status, output.stdout), (ExitStatus::TimedOut, "begun".into()));
}

#[test]
fn endless_output_that_is_thrown_away_ends_by_the_clock() {
    let (process, clock) = process();
    let request =
        program("yes").with_output_limit(OutputLimit::truncate(5)).with_timeout(Duration::from_secs(1));
    block_on(async {
        let child = process.spawn(request).await.unwrap();
        let mut stdout = Vec::new();
        for _ in 0..3 {
            if let Some(ExecEvent::Stdout(bytes)) = child.next_event().now_or_never().unwrap().unwrap() {
                stdout.extend(bytes);
            }
        }
        assert_eq!(stdout, b"y\ny\ny");
        assert!(child.next_event().now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        let truncated = child.next_event().await.unwrap().unwrap();
        assert!(matches!(truncated, ExecEvent::Truncated { stream: OutputStream::Stdout, dropped: 1.. }));
        assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Exited(ExitStatus::TimedOut)));
        assert_eq!(child.next_event().await.unwrap(), None);
    });
}

#[test]
fn too_much_output_kills() {
    let (process, _) = process();
    let output = block_on(process.exec(program("yes").with_output_limit(OutputLimit::kill(4)))).unwrap();
    assert_eq!((output.status, output.stdout), (ExitStatus::OutputLimit, "y\ny\n".into()));
}

#[test]
fn input_and_output_flow_at_once_and_in_bounds() {
    let (process, _) = process();
    block_on(async {
        let child = process.spawn(program("cat").with_stdin(Stdin::Piped)).await.unwrap();
        let sent = Bytes::from(vec![b'x'; 1 << 20]);
        let write = async {
            child.write_stdin(sent.clone()).await.unwrap();
            child.close_stdin().await.unwrap();
        };
        let read = async {
            let mut received = 0;
            while let Some(event) = child.next_event().await.unwrap() {
                if let ExecEvent::Stdout(bytes) = event {
                    assert!(bytes.len() <= 64 << 10);
                    received += bytes.len();
                }
            }
            received
        };
        assert_eq!(join(write, read).await.1, 1 << 20);
        assert_eq!(child.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn input_waits_for_a_program_that_does_not_read() {
    let (process, _) = process();
    block_on(async {
        let child = process.spawn(program("cat").with_stdin(Stdin::Piped)).await.unwrap();
        let mut write = child.write_stdin(Bytes::from(vec![0; (64 << 10) + 1]));
        assert!((&mut write).now_or_never().is_none());
        child.kill().await.unwrap();
        assert_eq!(write.await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Exited(ExitStatus::Killed)));
        assert_eq!(child.next_event().await.unwrap(), None);
    });
}

#[test]
fn dropping_the_child_drops_the_program() {
    struct Told(Arc<AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&dropped);
    let (process, _) = process();
    let process = process.program("hold", move |_| {
        let told = Told(Arc::clone(&shared));
        async move {
            let _told = told;
            std::future::pending().await
        }
    });
    let child = block_on(process.spawn(program("hold"))).unwrap();
    assert!(child.next_event().now_or_never().is_none());
    assert!(!dropped.load(Ordering::SeqCst));
    drop(child);
    assert!(dropped.load(Ordering::SeqCst));
}

#[test]
fn an_unknown_program_is_an_exit_and_a_shell_that_is_none_a_refusal() {
    let (process, _) = process();
    let output = block_on(process.exec(program("nope"))).unwrap();
    assert_eq!(output.status, ExitStatus::Code(127));
    assert_eq!(output.stderr_text(), "nope: command not found\n");
    let error = block_on(process.exec(ExecRequest::shell("true"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn secrets_are_not_shown() {
    let (process, _) = process();
    let request = program("x").with_env("TOKEN=", "s3cret");
    let error = block_on(process.spawn(request)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!format!("{error:?}").contains("s3cret"));
}
