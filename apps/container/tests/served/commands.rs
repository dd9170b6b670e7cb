use std::time::Duration;

use agentx::resource::{
    Child, ErrorKind, ExecEvent, ExecRequest, ExitStatus, OutputLimit, Process, ProcessExt, Stdin,
};
use agentx_container::{Limits, Server, Settings};
use agentx_provider_cloudflare::{Container, ContainerAddress, ContainerOptions, SandboxProcess};
use bytes::Bytes;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    proxy::Proxy,
    support::{ANY, Served},
};

/// Short, so that what is to fail fails soon; on a busy machine it only takes longer.
fn impatient() -> ContainerOptions {
    ContainerOptions::default().with_silence(Duration::from_secs(1)).with_reattach(Duration::from_secs(3))
}

async fn through(proxy: &Proxy) -> Container {
    Container::connect(&proxy.at(), ContainerOptions::default()).await.unwrap()
}

/// All output, and how it ended.
async fn all(child: &dyn Child) -> (Vec<u8>, Vec<ExitStatus>) {
    let (mut output, mut ends) = (Vec::new(), Vec::new());
    while let Some(event) = child.next_event().await.unwrap() {
        match event {
            ExecEvent::Stdout(bytes) => output.extend_from_slice(&bytes),
            ExecEvent::Exited(status) => ends.push(status),
            other => panic!("{other:?}"),
        }
    }
    (output, ends)
}

/// Numbers, one in a line, which show what is lost or doubled.
fn count_to(count: usize) -> (ExecRequest, Vec<u8>) {
    let text = (1..=count).fold(String::new(), |text, number| text + &format!("{number}\n"));
    let script = format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo $i; done");
    (ExecRequest::shell(script).with_output_limit(OutputLimit::none()), text.into_bytes())
}

#[tokio::test]
async fn events_go_on_where_each_connection_broke() {
    let served = Served::start().await;
    let proxy = Proxy::before(&served).await;
    let process = through(&proxy).await.process();
    let (request, text) = count_to(20_000);
    proxy.cut(12, 9_000);
    let child = process.spawn(request).await.unwrap();
    assert_eq!(all(&*child).await, (text, vec![ExitStatus::Code(0)]));
    assert!(proxy.connections() >= 12, "{} connections: too few broke", proxy.connections());
}

#[tokio::test]
async fn a_log_that_is_full_makes_the_command_wait_and_nothing_is_lost() {
    let limits = Limits::default().with_log_bytes(10_000).with_heartbeat(Duration::from_millis(50));
    let served = Served::start_with(limits).await;
    let process = served.container().await.process();
    let content = Bytes::from((0..1_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let request = ExecRequest::program("cat", [""; 0])
        .with_stdin(Stdin::Bytes(content.clone()))
        .with_output_limit(OutputLimit::none());
    let child = process.spawn(request).await.unwrap();
    let (output, ends) = all(&*child).await;
    assert!(output == content, "{} bytes came of {}", output.len(), content.len());
    assert_eq!(ends, [ExitStatus::Code(0)]);
}

/// By the published API, whose server keeps a log for those who come later, too.
#[tokio::test]
async fn output_that_comes_faster_than_it_is_read_is_told_whole() {
    let served = Served::start().await;
    let root = served.root.to_str().unwrap();
    let process = SandboxProcess::connect(&served.at(), root, ContainerOptions::default()).await.unwrap();
    let script = "head -c 16000000 /dev/zero | tr '\\0' x";
    let request = ExecRequest::shell(script).with_output_limit(OutputLimit::none());
    let child = process.spawn(request).await.unwrap();
    let (output, ends) = all(&*child).await;
    assert_eq!((output.len(), ends), (16_000_000, vec![ExitStatus::Code(0)]));
    assert!(output.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn an_answer_that_has_gone_on_for_long_is_followed_by_another() {
    let served = Served::start_with(Limits::default().with_stream(Duration::from_millis(20))).await;
    let process = served.container().await.process();
    let request = ExecRequest::shell("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done");
    let child = process.spawn(request).await.unwrap();
    assert_eq!(all(&*child).await, (b"1\n2\n3\n4\n5\n".to_vec(), vec![ExitStatus::Code(0)]));
}

#[tokio::test]
async fn a_start_whose_answer_is_lost_happens_once() {
    let served = Served::start().await;
    let proxy = Proxy::before(&served).await;
    let process = through(&proxy).await.process();
    for round in 0..5 {
        proxy.cut(1, 0);
        let output = process.exec(ExecRequest::shell("echo x >> started; wc -l < started")).await.unwrap();
        assert_eq!(output.stdout_text().trim(), (round + 1).to_string());
    }
}

#[tokio::test]
async fn input_whose_answer_is_lost_is_written_once() {
    let served = Served::start().await;
    let proxy = Proxy::before(&served).await;
    let process = through(&proxy).await.process();
    let child = process.spawn(ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Piped)).await.unwrap();
    let mut text = Vec::new();
    for number in 0..20 {
        proxy.cut(1, 0);
        let line = format!("line {number}\n");
        child.write_stdin(Bytes::from(line.clone())).await.unwrap();
        text.extend_from_slice(line.as_bytes());
    }
    child.close_stdin().await.unwrap();
    assert_eq!(all(&*child).await, (text, vec![ExitStatus::Code(0)]));
}

#[tokio::test]
async fn input_waits_as_long_as_the_command_does_not_read() {
    let mut limits = Limits::default();
    limits.stdin = Duration::from_millis(50);
    let served = Served::start_with(limits).await;
    let process = served.container().await.process();
    let script = "read go < go; cat | wc -c";
    assert!(process.exec(ExecRequest::program("mkfifo", ["go"])).await.unwrap().status.success());
    let child = process.spawn(ExecRequest::shell(script).with_stdin(Stdin::Piped)).await.unwrap();
    let written = child.write_stdin(Bytes::from(vec![b'x'; 700_000]));
    let let_go = async {
        // Until the pipe is full and the server has said so some times.
        tokio::time::sleep(Duration::from_millis(300)).await;
        process.exec(ExecRequest::shell("echo > go")).await.unwrap();
    };
    let (written, ()) = tokio::join!(written, let_go);
    written.unwrap();
    child.close_stdin().await.unwrap();
    assert_eq!(all(&*child).await, (b"700000\n".to_vec(), vec![ExitStatus::Code(0)]));
}

#[tokio::test]
async fn a_silent_peer_is_noticed_and_another_connection_found() {
    let served = Served::start_with(Limits::default().with_heartbeat(Duration::from_millis(100))).await;
    let proxy = Proxy::before(&served).await;
    let container = Container::connect(&proxy.at(), impatient()).await.unwrap();
    let process = container.process();
    let child = process.spawn(ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Piped)).await.unwrap();
    proxy.mute(true);
    let direct = served.container().await;
    direct.ping().await.unwrap();
    let connections = proxy.connections();
    let events = tokio::spawn(async move {
        let event = child.next_event().await;
        (child, event)
    });
    // It gives the connection up, and tries another.
    while proxy.connections() == connections {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.mute(false);
    let script = "for p in /proc/[0-9]*; do [ \"$(readlink $p/cwd)\" = \"$PWD\" ] && [ \"$(cat $p/comm)\" = cat ] && kill ${p#/proc/}; done; :";
    direct.process().exec(ExecRequest::shell(script)).await.unwrap();
    let (child, event) = events.await.unwrap();
    assert_eq!(event.unwrap(), Some(ExecEvent::Exited(ExitStatus::Signal(15))));
    assert_eq!(child.next_event().await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_is_gone_is_lost_and_nothing_is_made_up() {
    let served = Served::start().await;
    let process = Container::connect(&served.at(), impatient()).await.unwrap().process();
    let child = process.spawn(ExecRequest::shell("echo begun; sleep 600")).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("begun\n".into())));
    drop(served.kill());
    assert_eq!(child.next_event().await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Exited(ExitStatus::Lost)));
    assert_eq!(child.next_event().await.unwrap(), None);
    let error = process.exec(ExecRequest::shell("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn another_server_in_its_place_is_not_taken_for_it() {
    let served = Served::start().await;
    let container = Container::connect(&served.at(), impatient()).await.unwrap();
    let child = container.process().spawn(ExecRequest::shell("echo begun; sleep 600")).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("begun\n".into())));
    let (root, address) = (served.root.clone(), served.address);
    let _dir = served.kill();
    let _other = Served::serve(root, Limits::default(), address).await;
    assert_eq!(child.next_event().await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Exited(ExitStatus::Lost)));
    assert_eq!(container.ping().await.unwrap_err().kind(), ErrorKind::Lost);
    let error = container.process().exec(ExecRequest::shell("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn a_command_without_a_listener_ends_by_itself() {
    let served = Served::start_with(Limits::default().with_unattended(Duration::from_millis(200))).await;
    let proxy = Proxy::before(&served).await;
    let child =
        through(&proxy).await.process().spawn(ExecRequest::shell("echo begun; sleep 600")).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("begun\n".into())));
    // As if the host were switched off: its connections break, and nothing more is sent.
    proxy.close();
    drop(child);
    let check = served.check();
    while check().is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_wrong_or_missing_token_is_refused() {
    let served = Served::start().await;
    let at = format!("http://{}", served.address);
    for address in [
        ContainerAddress::new(&at),
        ContainerAddress::new(&at).with_token("a-token-of-the-testz"),
        ContainerAddress::new(&at).with_token("a-token"),
    ] {
        let error = Container::connect(&address, ContainerOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!format!("{error:?}{address:?}").contains("a-token"), "{error:?}");
    }
}

#[tokio::test]
async fn more_commands_than_allowed_are_refused_until_one_is_given_back() {
    let served = Served::start_with(Limits::default().with_commands(1)).await;
    let process = served.container().await.process();
    let child = process.spawn(ExecRequest::program("sleep", ["600"])).await.unwrap();
    let error = process.spawn(ExecRequest::program("true", [""; 0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    drop(child);
    while process.exec(ExecRequest::program("true", [""; 0])).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_ends_its_commands_and_then_itself() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new(Settings::new(dir.path())).unwrap();
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = ContainerAddress::new(format!("http://{}", listener.local_addr().unwrap()));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(listener, async { drop(stopped.await) }));
    let process = Container::connect(&address, impatient()).await.unwrap().process();
    let child = process.spawn(ExecRequest::shell("echo $$; exec sleep 600")).await.unwrap();
    let Some(ExecEvent::Stdout(pid)) = child.next_event().await.unwrap() else { panic!("no output") };
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    let running = format!("/proc/{}/cwd", String::from_utf8_lossy(&pid).trim());
    assert!(std::fs::read_link(running).is_err(), "the command still runs");
    assert_eq!(child.next_event().await.unwrap_err().kind(), ErrorKind::Lost);
}
