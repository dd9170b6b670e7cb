//! Connections that break: the client comes back by itself, misses nothing and tells nothing twice.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentx::{
    Decision, ErrorKind, Event, EventData,
    client::{Conversation, ConversationExt, RemoteRuntime},
    core::Cursor,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    client::{agent, is_end, next, remote, until},
    support::{WAIT, serve},
};

/// Carries bytes to the server and back, until it cuts all connections that there are.
struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<u64>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, cut) = (listener.local_addr().unwrap(), watch::Sender::new(0));
        let (cuts, connections) = (cut.clone(), Arc::new(AtomicUsize::new(0)));
        let count = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cut, connections, accepting }
    }

    /// Cuts all connections, with whatever is under way in them.
    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn connect(&self) -> RemoteRuntime {
        RemoteRuntime::builder(format!("ws://{}/ws", self.address)).connect().await.unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn places(events: &[Arc<Event>]) -> Vec<Cursor> {
    events.iter().map(|event| event.cursor()).collect()
}

/// The connection is cut behind each event of a turn that stands still in its middle for an approval.
#[tokio::test]
async fn a_stream_goes_on_wherever_it_is_cut() {
    let served = serve().await;
    let proxy = Proxy::to(served.address).await;
    let mut place = 0;
    loop {
        let agent = agent(&proxy.connect().await).await;
        let direct = remote(&served).connect().await.unwrap().run(agent.image_id()).await.unwrap();
        let mut witness = direct.events(None).await.unwrap();
        let mut events = agent.events(None).await.unwrap();
        drop(agent.send("pay").await.unwrap());
        let (mut heard, mut is_cut) = (Vec::new(), false);
        loop {
            if heard.len() == place {
                proxy.cut();
                is_cut = true;
            }
            let event = next(&mut events).await;
            heard.push(event.clone());
            match &event.data {
                EventData::ApprovalRequested { approval_id, .. } => {
                    direct.answer(approval_id, Decision::Allow).await.unwrap();
                }
                EventData::TurnResponse { .. } => break,
                _ => {}
            }
        }
        let whole = until(&mut witness, is_end).await;
        // While the turn runs nothing at all is missing. What is told once is gone when a turn ends that was not heard.
        let asked = 1 + whole
            .iter()
            .position(|event| matches!(event.data, EventData::ApprovalRequested { .. }))
            .unwrap();
        assert_eq!(places(&heard[..asked]), places(&whole[..asked]), "cut behind {place} events");
        let mut rest = whole[asked..].iter();
        for event in &heard[asked..] {
            // In their order, each once, and no stored one left out.
            let passed: Vec<_> = rest.by_ref().take_while(|other| other.cursor() != event.cursor()).collect();
            assert!(passed.iter().all(|other| other.delta > 0), "cut behind {place}: {passed:?}");
        }
        assert!(rest.next().is_none());
        for event in &heard {
            assert!(whole.contains(event), "{event:?}");
        }
        if !is_cut {
            break;
        }
        place += 1;
    }
    assert!(place > 20, "a turn of {place} events");
    assert!(proxy.connections() > place, "{} connections", proxy.connections());
}

/// A turn that the sender waits for: it hears of its end on another connection than that on which it began.
#[tokio::test]
async fn a_turn_is_finished_behind_a_cut() {
    let served = serve().await;
    let proxy = Proxy::to(served.address).await;
    let agent = agent(&proxy.connect().await).await;
    let mut turn = agent.send("pay").await.unwrap();
    until(&mut turn, |data| matches!(data, EventData::ApprovalRequested { .. })).await;
    proxy.cut();
    // Asked on the broken connection, and answered on the next.
    let waiting = agent.approvals().await.unwrap();
    agent.answer(&waiting[0].approval_id, Decision::Allow).await.unwrap();
    assert_eq!(timeout(WAIT, turn.finish()).await.unwrap().unwrap().text, "done");
    assert_eq!(proxy.connections(), 2);
}

/// From the cursor of any event, what is stored behind it comes, each event once.
#[tokio::test]
async fn a_stream_begins_behind_any_event() {
    let served = serve().await;
    let agent = agent(&remote(&served).connect().await.unwrap()).await;
    let mut events = agent.events(None).await.unwrap();
    agent.ask("add").await.unwrap();
    let all = until(&mut events, is_end).await;
    let stored = |events: &[Arc<Event>]| -> Vec<u64> {
        events.iter().filter(|event| event.delta == 0).map(|event| event.seq).collect()
    };
    for (place, event) in all.iter().enumerate().take(all.len() - 1) {
        // All of them on one connection, beside one another.
        let mut again = agent.events(Some(event.cursor())).await.unwrap();
        let heard = until(&mut again, is_end).await;
        assert_eq!(stored(&heard), stored(&all[place + 1..]), "behind {:?}", event.cursor());
    }
}

/// What could be done twice is not asked again.
#[tokio::test]
async fn a_message_whose_answer_was_lost_is_not_sent_again() {
    let served = serve().await;
    let proxy = Proxy::to(served.address).await;
    let agent = agent(&proxy.connect().await).await;
    // The answer comes with the end of the turn, which the cut is before.
    let mut witness = agent.events(None).await.unwrap();
    let sending = tokio::spawn({
        let agent = agent.clone();
        async move { agent.send("hello").await }
    });
    next(&mut witness).await;
    proxy.cut();
    match sending.await.unwrap() {
        Ok(turn) => assert_eq!(timeout(WAIT, turn.finish()).await.unwrap().unwrap().text, "You said: hello"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Lost),
    }
    until(&mut witness, is_end).await;
    let said = agent.messages().await.unwrap();
    assert_eq!(said.len(), 2, "{said:?}");
}

/// A server that is gone ends the streams, with the reason; each within its bound.
#[tokio::test]
async fn a_server_that_does_not_come_back_ends_the_client() {
    let served = serve().await;
    let proxy = Proxy::to(served.address).await;
    let builder = RemoteRuntime::builder(format!("ws://{}/ws", proxy.address));
    let runtime = builder.reconnect_within(Duration::from_millis(300)).connect().await.unwrap();
    let agent = agent(&runtime).await;
    let mut events = agent.events(None).await.unwrap();
    let cut = proxy.cut.clone();
    drop(proxy);
    cut.send_modify(|cuts| *cuts += 1);
    let last = next(&mut events).await;
    let EventData::SubscriptionFailed { error_code, .. } = &last.data else { panic!("{last:?}") };
    assert_eq!(error_code, "unavailable");
    assert!(timeout(WAIT, futures::StreamExt::next(&mut events)).await.unwrap().is_none());
    assert_eq!(runtime.containers().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_client_that_is_closed_says_so() {
    let served = serve().await;
    let runtime = remote(&served).connect().await.unwrap();
    let agent = agent(&runtime).await;
    let mut events = agent.events(None).await.unwrap();
    runtime.close();
    let last = next(&mut events).await;
    assert!(
        matches!(&last.data, EventData::SubscriptionFailed { error_code, .. } if error_code == "cancelled")
    );
    assert_eq!(agent.interrupt().await.unwrap_err().kind(), ErrorKind::Cancelled);
}
