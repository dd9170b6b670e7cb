//! How input and output flow, with real processes.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::time::Duration;

use agentx_provider_local::LocalProcess;
use agentx_resource::{
    Child, ErrorKind, ExecEvent, ExecRequest, ExitStatus, OutputLimit, OutputStream, Process, ProcessExt,
    Stdin,
};
use bytes::Bytes;
use futures::FutureExt;

const MIB: usize = 1 << 20;

fn local() -> LocalProcess {
    LocalProcess::new("/").unwrap()
}

async fn next(child: &dyn Child) -> ExecEvent {
    child.next_event().await.unwrap().expect("an event")
}

/// Reads standard output until it holds this line.
async fn wait_for_line(child: &dyn Child, line: &str) {
    let mut text = Vec::new();
    while !text.split(|byte| *byte == b'\n').any(|found| found == line.as_bytes()) {
        match next(child).await {
            ExecEvent::Stdout(piece) => text.extend_from_slice(&piece),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_utf8_passes_through() {
    let every = (0..=255).collect::<Bytes>();
    let request = ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Bytes(every.clone()));
    assert_eq!(local().exec(request).await.unwrap().stdout, every);
}

#[tokio::test]
async fn ten_megabytes_go_in_and_out_at_once() {
    let data: Bytes = (0..10 * MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let request = ExecRequest::program("cat", [""; 0]);
    let output = local().exec(request.clone().with_stdin(Stdin::Bytes(data.clone()))).await.unwrap();
    assert!(output.stdout == data && output.status.success());

    let child = local().spawn(request.with_stdin(Stdin::Piped)).await.unwrap();
    let write = async {
        for start in (0..data.len()).step_by(300_000) {
            child.write_stdin(data.slice(start..data.len().min(start + 300_000))).await.unwrap();
        }
        child.close_stdin().await.unwrap();
    };
    let read = async {
        let mut read = Vec::new();
        while let Some(event) = child.next_event().await.unwrap() {
            match event {
                ExecEvent::Stdout(piece) => {
                    assert!(piece.len() <= 64 << 10);
                    read.extend_from_slice(&piece);
                }
                event => assert_eq!(event, ExecEvent::Exited(ExitStatus::Code(0))),
            }
        }
        read
    };
    let ((), read) = futures::join!(write, read);
    assert!(read == data);
}

#[tokio::test]
async fn null_input_ends_at_once() {
    let output = local().exec(ExecRequest::program("cat", [""; 0])).await.unwrap();
    assert_eq!((output.status, output.stdout.len()), (ExitStatus::Code(0), 0));
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let request =
        ExecRequest::shell("exec <&-; echo done").with_stdin(Stdin::Bytes(vec![b'x'; 4 * MIB].into()));
    let output = local().exec(request).await.unwrap();
    assert_eq!((output.status, output.stdout_text()), (ExitStatus::Code(0), "done\n".into()));
}

#[tokio::test]
async fn live_input_can_be_closed_once_and_again() {
    let request = ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Piped);
    let child = local().spawn(request).await.unwrap();
    child.write_stdin("one".into()).await.unwrap();
    assert_eq!(next(&*child).await, ExecEvent::Stdout("one".into()));
    child.close_stdin().await.unwrap();
    child.close_stdin().await.unwrap();
    assert_eq!(child.write_stdin("two".into()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Code(0)));
    assert_eq!(child.next_event().await.unwrap(), None);
}

#[tokio::test]
async fn input_that_nobody_reads_any_more_is_told() {
    let request = ExecRequest::shell("exec <&-; echo closed; sleep 1000").with_stdin(Stdin::Piped);
    let child = local().spawn(request).await.unwrap();
    wait_for_line(&*child, "closed").await;
    assert_eq!(child.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn closing_ends_a_write_that_waits_for_room() {
    let child = local().spawn(ExecRequest::shell("sleep 1000").with_stdin(Stdin::Piped)).await.unwrap();
    let mut write = child.write_stdin(vec![0; MIB].into());
    assert!((&mut write).now_or_never().is_none());
    child.close_stdin().await.unwrap();
    assert_eq!(write.await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn input_that_was_not_asked_for_is_refused() {
    for stdin in [Stdin::Null, Stdin::Bytes("x".into())] {
        let child = local().spawn(ExecRequest::shell("cat").with_stdin(stdin)).await.unwrap();
        assert_eq!(child.write_stdin("y".into()).await.unwrap_err().kind(), ErrorKind::Unsupported);
        child.close_stdin().await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_call_loses_nothing() {
    let script = "for i in $(seq 3000); do echo $i; echo $i >&2; done";
    let child = local().spawn(ExecRequest::shell(script)).await.unwrap();
    let (mut stdout, mut stderr, mut exits) = (Vec::new(), Vec::new(), 0);
    let mut dropped = 0_u32;
    loop {
        // Every call but the first ready one is dropped, at each of its states.
        let event = tokio::select! {
            biased;
            event = child.next_event() => event.unwrap(),
            () = tokio::task::yield_now() => {
                dropped += 1;
                continue;
            }
        };
        match event {
            Some(ExecEvent::Stdout(piece)) => stdout.extend_from_slice(&piece),
            Some(ExecEvent::Stderr(piece)) => stderr.extend_from_slice(&piece),
            Some(ExecEvent::Exited(status)) => exits += i32::from(status.success()),
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    let expected = (1..=3000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n") + "\n";
    assert!(stdout == expected.as_bytes() && stderr == expected.as_bytes());
    assert_eq!(exits, 1);
    assert!(dropped > 0);
}

/// The most memory that this test program ever held, in KiB.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_flood_is_cut_counted_and_held_nowhere() {
    let before = peak_memory();
    let limit = OutputLimit::truncate(1000);
    let request = ExecRequest::shell("head -c 200000000 /dev/zero; echo end >&2").with_output_limit(limit);
    let output = local().exec(request).await.unwrap();
    assert_eq!((output.stdout.len(), output.stdout_dropped), (1000, 200_000_000 - 1000));
    assert_eq!((output.stderr_text(), output.stderr_dropped), ("end\n".into(), 0));
    assert_eq!(output.status, ExitStatus::Code(0));
    // Other tests of this file run beside it and hold 20 MiB each.
    assert!(peak_memory() - before < 100_000, "{} KiB", peak_memory() - before);
}

#[tokio::test]
async fn truncation_is_told_once_when_the_stream_has_ended() {
    let request = ExecRequest::shell("echo 12345; echo 67890; echo kept >&2; exit 3");
    let child = local().spawn(request.with_output_limit(OutputLimit::truncate(7))).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = child.next_event().await.unwrap() {
        events.push(event);
    }
    let truncated = ExecEvent::Truncated { stream: OutputStream::Stdout, dropped: 5 };
    assert_eq!(events.iter().filter(|event| matches!(event, ExecEvent::Truncated { .. })).count(), 1);
    assert!(events.contains(&truncated) && events.contains(&ExecEvent::Exited(ExitStatus::Code(3))));
}

#[tokio::test]
async fn exactly_the_limit_is_no_truncation() {
    for limit in [OutputLimit::truncate(5), OutputLimit::kill(5)] {
        let output = local().exec(ExecRequest::shell("printf 12345").with_output_limit(limit)).await.unwrap();
        assert_eq!(
            (output.status, output.stdout_text(), output.stdout_dropped),
            (ExitStatus::Code(0), "12345".into(), 0)
        );
    }
}

#[tokio::test]
async fn a_command_can_be_killed_for_its_output() {
    for script in ["yes", "yes >&2", "trap '' PIPE TERM; while :; do echo y; done"] {
        let process = local().with_kill_grace(Duration::from_millis(200));
        let request = ExecRequest::shell(script).with_output_limit(OutputLimit::kill(100_000));
        let output = process.exec(request).await.unwrap();
        assert_eq!(output.status, ExitStatus::OutputLimit, "{script}");
        assert_eq!(output.stdout.len() + output.stderr.len(), 100_000);
    }
}

#[tokio::test]
async fn what_nobody_reads_holds_the_command_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    let script = "echo first; head -c 1000000 /dev/zero; touch finished";
    let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
    assert!(matches!(next(&*child).await, ExecEvent::Stdout(_)));
    // A command that is held back never gets there, however long this takes.
    assert!(process.exec(ExecRequest::shell("sleep 0.2")).await.unwrap().status.success());
    assert!(!dir.path().join("finished").exists());
    while child.next_event().await.unwrap().is_some() {}
    assert!(dir.path().join("finished").exists());
}

#[tokio::test]
async fn a_command_that_closes_its_output_goes_on() {
    let request =
        ExecRequest::shell("echo last; exec >&- 2>&-; read line; exit $line").with_stdin(Stdin::Piped);
    let child = local().spawn(request).await.unwrap();
    wait_for_line(&*child, "last").await;
    assert!(child.next_event().now_or_never().is_none());
    child.write_stdin("9\n".into()).await.unwrap();
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Code(9)));
    assert_eq!(child.next_event().await.unwrap(), None);
    assert_eq!(child.next_event().await.unwrap(), None);
}

#[tokio::test]
async fn both_streams_have_their_turn() {
    let child = local().spawn(ExecRequest::shell("yes & yes error >&2")).await.unwrap();
    let (mut stdout, mut stderr) = (0, 0);
    while stdout < MIB || stderr < MIB {
        match next(&*child).await {
            ExecEvent::Stdout(piece) => stdout += piece.len(),
            ExecEvent::Stderr(piece) => stderr += piece.len(),
            other => panic!("{other:?}"),
        }
    }
}

/// 1 GiB on each stream; `AGENTX_FLOOD_GIB` asks for more.
#[tokio::test]
async fn a_flood_on_both_streams_is_counted_in_bounded_memory() {
    let gib: u64 = std::env::var("AGENTX_FLOOD_GIB").map_or(1, |value| value.parse().unwrap());
    let bytes = gib << 30;
    let script = format!("head -c {bytes} /dev/zero & head -c {bytes} /dev/zero >&2; wait; echo end");
    let request = ExecRequest::shell(script).with_output_limit(OutputLimit::head_and_tail(100, 4));
    let output = local().exec(request).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(0));
    assert_eq!((output.stdout.len(), output.stdout_dropped), (104, bytes + 4 - 104));
    assert_eq!((output.stderr.len(), output.stderr_dropped), (104, bytes - 104));
    assert!(output.stdout.ends_with(b"end\n"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
}
