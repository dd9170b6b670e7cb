use std::{pin::pin, sync::Arc, time::Duration};

use agentx_core::{BlockKind, ErrorKind, MessageBody, Model, ModelEvent, ModelRequest, Reply, Result, Retry};
use agentx_driver_claude::messages::{
    HttpRequest, HttpResponse, MessagesModel, MessagesSettings, ReqwestTransport, Transport,
};
use agentx_resource::{
    ApiSupply, BoxFuture, Clock,
    memory::{ManualClock, MemoryLlmProvider},
};
use agentx_tests::messages_server::{Fault, MessagesServer};
use futures::{
    FutureExt, StreamExt,
    future::{self, Either},
    stream,
};

use super::support::{KEY, TestClock, answer, ask, broken, client, says, start, text};

fn question() -> ModelRequest {
    ModelRequest::new(vec![MessageBody::user("Hi?")])
}

fn server() -> MessagesServer {
    says(Reply::text("One two three."))
}

/// How many events the server's answer has before its first piece of text ends: start, ping, block, text.
const WITHIN_TEXT: usize = 4;

fn without_retries(server: &MessagesServer) -> MessagesModel {
    client(server, TestClock::default()).with_settings(MessagesSettings::default().with_retries(0))
}

#[tokio::test]
async fn each_fault_before_the_answer_is_typed() {
    let redirect = Fault::Response {
        status: 302,
        headers: vec![("location".into(), "https://elsewhere.example/".into())],
        body: String::new(),
    };
    let table = [
        (Fault::RateLimited { retry_after: None }, ErrorKind::LimitExceeded, Retry::After(None)),
        (
            Fault::RateLimited { retry_after: Some(Duration::from_secs(7)) },
            ErrorKind::LimitExceeded,
            Retry::After(Some(Duration::from_secs(7))),
        ),
        (Fault::SpendLimit, ErrorKind::LimitExceeded, Retry::Never),
        (Fault::Overloaded, ErrorKind::Unavailable, Retry::After(None)),
        (Fault::ApiError, ErrorKind::Unavailable, Retry::After(None)),
        (Fault::ResetBefore, ErrorKind::Unavailable, Retry::After(None)),
        (Fault::WrongContentType, ErrorKind::Corrupt, Retry::Never),
        (redirect, ErrorKind::InvalidInput, Retry::Never),
    ];
    for (fault, kind, retry) in table {
        let server = server();
        server.inject(fault.clone());
        let (told, error) = broken(ask(&without_retries(&server), question()).await);
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{fault:?}: {error:?}");
        assert_eq!(told, []);
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn each_fault_within_the_answer_is_typed_and_follows_what_was_told() {
    let overloaded = Fault::ErrorEvent { events: WITHIN_TEXT, kind: "overloaded_error".into() };
    let invalid = Fault::ErrorEvent { events: WITHIN_TEXT, kind: "invalid_request_error".into() };
    let table = [
        (overloaded, ErrorKind::Unavailable),
        (invalid, ErrorKind::InvalidInput),
        (Fault::ResetAfter { events: WITHIN_TEXT }, ErrorKind::Unavailable),
        (Fault::Truncate { bytes: 700 }, ErrorKind::Truncated),
    ];
    for (fault, kind) in table {
        let server = server();
        server.inject(fault.clone());
        let (told, error) = broken(ask(&without_retries(&server), question()).await);
        assert_eq!(error.kind(), kind, "{fault:?}: {error:?}");
        assert!(told.contains(&start(0, BlockKind::Text)), "{fault:?}: {told:?}");
        assert!(!told.iter().any(|event| matches!(event, ModelEvent::Stop(_))));
    }
}

#[tokio::test]
async fn a_failure_before_the_first_event_is_tried_again_in_silence() {
    let server = server();
    for fault in [Fault::Overloaded, Fault::RateLimited { retry_after: Some(Duration::from_secs(30)) }] {
        server.inject(fault);
    }
    let clock = TestClock::default();
    let told = answer(&client(&server, clock.clone()), question()).await;
    assert_eq!(text(&told), "One two three.");
    assert!(!told.iter().any(|event| matches!(event, ModelEvent::Restarted { .. })));
    let [backoff, named] = clock.waits()[..] else { panic!("two waits: {:?}", clock.waits()) };
    assert!((375..=500).contains(&backoff.as_millis()), "{backoff:?}");
    assert_eq!(named, Duration::from_secs(30));
}

#[tokio::test]
async fn after_the_last_try_the_error_says_so() {
    let server = server();
    (0..3).for_each(|_| server.inject(Fault::Overloaded));
    let (told, error) = broken(ask(&client(&server, TestClock::default()), question()).await);
    assert_eq!(told, []);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Exhausted));
    assert!(
        error.to_string().contains("overloaded_error: Overloaded (status 529, request req_3)"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_no_retry_helps_is_asked_once() {
    for fault in [Fault::SpendLimit, Fault::RateLimited { retry_after: Some(Duration::from_secs(61)) }] {
        let server = server();
        server.inject(fault);
        let clock = TestClock::default();
        broken(ask(&client(&server, clock.clone()), question()).await);
        assert_eq!(server.requests().len(), 1);
        assert_eq!(clock.waits(), []);
    }
}

#[tokio::test]
async fn a_failure_after_the_first_event_restarts_once_and_says_so() {
    let reset = || Fault::ResetAfter { events: WITHIN_TEXT };
    let server = server();
    server.inject(reset());
    let told = answer(&client(&server, TestClock::default()), question()).await;
    assert_eq!(text(&told), "One two three.");
    let restarts = told.iter().filter(|event| matches!(event, ModelEvent::Restarted { .. })).count();
    assert_eq!(restarts, 1);

    server.inject(reset());
    server.inject(reset());
    let before = server.requests().len();
    let (told, error) = broken(ask(&client(&server, TestClock::default()), question()).await);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Exhausted));
    let restarts = told.iter().filter(|event| matches!(event, ModelEvent::Restarted { .. })).count();
    assert_eq!(restarts, 1);
    assert_eq!(server.requests().len() - before, 2);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_anywhere_is_never_taken_for_a_whole_one() {
    let server = server();
    let model = without_retries(&server);
    let mut complete = 0;
    // The answer has about 1,000 bytes; beyond its end the fault does nothing.
    for bytes in (0..1400).step_by(7) {
        server.inject(Fault::Truncate { bytes });
        match ask(&model, question()).await.pop().unwrap() {
            Ok(event) => {
                assert!(matches!(event, ModelEvent::Stop(_)), "{bytes}");
                complete += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Truncated, "{bytes}"),
        }
    }
    assert!((1..150).contains(&complete), "{complete}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    for events in [0, WITHIN_TEXT] {
        let server = server();
        server.inject(Fault::Stall { events });
        let clock = ManualClock::default();
        let supply = ApiSupply::new(KEY).with_base_url(server.base_url());
        let supply = MemoryLlmProvider::new("test", supply);
        let idle = MessagesSettings::default().idle_timeout;
        let model =
            MessagesModel::new(Arc::new(supply), ReqwestTransport::new().unwrap(), Arc::new(clock.clone()))
                .with_settings(MessagesSettings::default().with_retries(0));

        let time = async {
            server.stalled(1).await;
            loop {
                clock.advance(idle);
                tokio::task::yield_now().await;
            }
        };
        let call = pin!(ask(&model, question()));
        let Either::Left((result, _)) = future::select(call, pin!(time)).await;

        let (_, error) = broken(result);
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{events}");
        server.abandoned(1).await;
    }
}

/// Answers with 529, and then a byte of the body each second, for ever.
#[derive(Debug)]
struct Dribble(ManualClock);

impl Transport for Dribble {
    fn send<'s, 'f>(&'s self, _: HttpRequest) -> BoxFuture<'f, Result<HttpResponse>>
    where
        's: 'f,
        Self: 'f,
    {
        let body = stream::unfold(self.0.clone(), |clock| async {
            clock.sleep(Duration::from_secs(1)).await;
            Some((Ok("x".into()), clock))
        });
        let response = HttpResponse::new(529, Vec::new(), body.boxed());
        future::ready(Ok(response)).boxed()
    }
}

#[tokio::test]
async fn a_refusal_whose_body_never_ends_is_told_within_seconds() {
    let clock = ManualClock::default();
    let start = clock.now();
    let supply = MemoryLlmProvider::new("test", ApiSupply::new(KEY));
    let model = MessagesModel::new(Arc::new(supply), Dribble(clock.clone()), Arc::new(clock.clone()))
        .with_settings(MessagesSettings::default().with_retries(0));
    let time = async {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let Either::Left((told, _)) = future::select(pin!(ask(&model, question())), pin!(time)).await;
    let (_, error) = broken(told);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(None)));
    assert!(error.to_string().contains("(status 529)"), "{error}");
    let waited = clock.now().duration_since(start).unwrap();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[tokio::test]
async fn dropping_the_stream_hangs_up() {
    for events in [0, WITHIN_TEXT] {
        let server = server();
        server.inject(Fault::Stall { events });
        let model = client(&server, TestClock::default());
        let mut stream = model.call(question());
        {
            let poll = async { while stream.next().await.is_some() {} };
            future::select(pin!(poll), pin!(server.stalled(1))).await;
        }
        drop(stream);
        server.abandoned(1).await;
        // The client is as good as before.
        assert_eq!(text(&answer(&model, question()).await), "One two three.");
    }
}

#[tokio::test]
async fn nobody_there_is_a_typed_error() {
    let server = server();
    let model = without_retries(&server);
    drop(server);
    // The listener is closed by its task, when the runtime comes to it.
    let error = loop {
        match ask(&model, question()).await.pop().unwrap() {
            Err(error) => break error,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(None)));
}

#[tokio::test]
async fn the_key_is_in_no_error_and_in_no_debug() {
    let server = server();
    server.inject(Fault::Response {
        status: 401,
        headers: vec![("request-id".into(), format!("req {KEY}"))],
        body: format!(
            r#"{{"error":{{"type":"authentication_error","message":"invalid x-api-key: {KEY}"}}}}"#
        ),
    });
    let model = client(&server, TestClock::default());
    let (_, error) = broken(ask(&model, question()).await);
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("invalid x-api-key: [redacted]"));

    server.inject(Fault::Response {
        status: 200,
        headers: vec![("content-type".into(), "text/event-stream".into())],
        body: format!("data: {{\"type\":\"error\",\"error\":{{\"type\":\"x\",\"message\":\"{KEY}\"}}}}\n\n"),
    });
    let quiet = model.clone().with_settings(MessagesSettings::default().with_retries(0));
    let (_, event) = broken(ask(&quiet, question()).await);
    assert!(!format!("{error} {error:?} {event} {event:?} {model:?}").contains(KEY));
}
