//! Which failures are tried again, when, and what the user sees of it.

use std::time::Duration;

use agentx_core::{ErrorKind, MessageBody, ModelEvent, ModelRequest, Reply, Retry};
use agentx_driver_claude::messages::{ApiFailure, MessagesSettings};
use agentx_tests::messages_server::Fault;

use super::support::{KEY, TestClock, answer, ask, broken, client, says, text};

fn question() -> ModelRequest {
    ModelRequest::new(vec![MessageBody::user("Hi?")])
}

fn refusal(status: u16, headers: &[(&str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = r#"{"type":"error","error":{"type":"a_kind","message":"No."},"request_id":"req_body"}"#;
    Fault::Response { status, headers, body: body.to_owned() }
}

#[tokio::test]
async fn the_server_says_whether_and_when() {
    let table: [(Fault, Option<Duration>); 8] = [
        (
            refusal(400, &[("x-should-retry", "true"), ("retry-after-ms", "20")]),
            Some(Duration::from_millis(20)),
        ),
        (refusal(529, &[("x-should-retry", "false")]), None),
        (
            refusal(429, &[("retry-after-ms", "1500"), ("retry-after", "9")]),
            Some(Duration::from_millis(1500)),
        ),
        (refusal(429, &[("retry-after", "2.5")]), Some(Duration::from_millis(2500))),
        // The clock of the tests stands at the beginning of 1970.
        (refusal(503, &[("retry-after", "Thu, 01 Jan 1970 00:00:07 GMT")]), Some(Duration::from_secs(7))),
        (refusal(409, &[("retry-after", "0")]), Some(Duration::ZERO)),
        (refusal(429, &[("retry-after", "3600")]), None),
        (Fault::SpendLimit, None),
    ];
    for (fault, wait) in table {
        let server = says(Reply::text("Hi."));
        server.inject(fault.clone());
        let clock = TestClock::default();
        let told = ask(&client(&server, clock.clone()), question()).await;
        assert_eq!(clock.waits(), wait.into_iter().collect::<Vec<_>>(), "{fault:?}");
        assert_eq!(told.last().unwrap().is_ok(), wait.is_some(), "{fault:?}");
        assert_eq!(server.requests().len(), 1 + usize::from(wait.is_some()), "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_has_shown_nothing_is_tried_again_in_silence() {
    // The start and a ping are nothing to see; what comes behind them is.
    for (events, restarts) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)] {
        for fault in
            [Fault::ResetAfter { events }, Fault::ErrorEvent { events, kind: "overloaded_error".into() }]
        {
            let server = says(Reply::text("One two."));
            server.inject(fault.clone());
            let told = answer(&client(&server, TestClock::default()), question()).await;
            assert_eq!(text(&told), "One two.", "{fault:?}");
            let count = |wanted: fn(&ModelEvent) -> bool| told.iter().filter(|event| wanted(event)).count();
            assert_eq!(count(|event| matches!(event, ModelEvent::Restarted { .. })), restarts, "{fault:?}");
            assert_eq!(count(|event| matches!(event, ModelEvent::Start { .. })), 1 + restarts, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn what_a_failed_answer_has_used_is_told() {
    let server = says(Reply::text("One two."));
    server.inject(Fault::ErrorEvent { events: 2, kind: "invalid_request_error".into() });
    let (told, error) = broken(ask(&client(&server, TestClock::default()), question()).await);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidInput, Retry::Never));
    assert!(
        told.iter().any(|event| matches!(event, ModelEvent::Usage(usage) if usage.input_tokens == 1)),
        "{told:?}"
    );
}

#[tokio::test]
async fn every_failure_names_its_request() {
    let faults = [
        (Fault::Overloaded, Some(529), "overloaded_error"),
        (refusal(418, &[]), Some(418), "a_kind"),
        (Fault::ErrorEvent { events: 4, kind: "api_error".into() }, None, "api_error"),
    ];
    for (fault, status, kind) in faults {
        let server = says(Reply::text("One two."));
        server.inject(fault.clone());
        let model =
            client(&server, TestClock::default()).with_settings(MessagesSettings::default().with_retries(0));
        let (_, error) = broken(ask(&model, question()).await);
        let failure = ApiFailure::of(&error).unwrap();
        assert_eq!((failure.status, failure.kind.as_str()), (status, kind), "{fault:?}");
        let request = if matches!(fault, Fault::Response { .. }) { "req_body" } else { "req_1" };
        assert_eq!(failure.request_id.as_deref(), Some(request), "{fault:?}");
        assert!(error.to_string().contains(request), "{error}");
    }
    // Also where the API itself said nothing of a failure.
    let server = says(Reply::text("One two."));
    server.inject(Fault::Truncate { bytes: 700 });
    let model =
        client(&server, TestClock::default()).with_settings(MessagesSettings::default().with_retries(0));
    let (_, error) = broken(ask(&model, question()).await);
    assert!(error.to_string().contains("(request req_1)"), "{error}");
}

#[tokio::test]
async fn the_limits_and_the_request_of_the_latest_response_are_there() {
    let server = says(Reply::text("Hi."));
    let model = client(&server, TestClock::default());
    assert_eq!(model.last_response(), None);
    answer(&model, question()).await;
    let response = model.last_response().unwrap();
    assert_eq!((response.status, response.request_id.as_deref()), (200, Some("req_1")));
    let requests = response.rate_limits.unwrap().requests;
    assert_eq!((requests.limit, requests.remaining), (Some(50), Some(49)));
    assert!(requests.reset.is_some());

    server.inject(refusal(404, &[("request-id", &format!("req {KEY}"))]));
    broken(ask(&model, question()).await);
    let response = model.last_response().unwrap();
    assert_eq!((response.status, response.request_id.as_deref()), (404, Some("req [redacted]")));
    assert_eq!(response.rate_limits, None);
}

#[tokio::test]
async fn tokens_are_counted_with_the_same_rules() {
    let server = says(Reply::text("Hi."));
    server.inject_into_count(Fault::Overloaded);
    let clock = TestClock::default();
    let model = client(&server, clock.clone());
    let mut request = question();
    request.system = Some("Be brief.".into());
    assert!(model.count_tokens(&request).await.unwrap() > 0);
    assert_eq!(clock.waits().len(), 1);
    let [first, second] = &server.counts()[..] else { panic!("two requests") };
    assert_eq!(first.body, second.body);
    assert_eq!(second.path, "/v1/messages/count_tokens");
    assert_eq!(second.header("x-api-key"), Some(KEY));
    let keys: Vec<_> = second.body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["messages", "model", "system"]);
    assert!(server.requests().is_empty());

    server.inject_into_count(Fault::WrongContentType);
    assert_eq!(model.count_tokens(&request).await.unwrap_err().kind(), ErrorKind::Corrupt);
    server.inject_into_count(refusal(401, &[]));
    assert_eq!(model.count_tokens(&request).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    (0..3).for_each(|_| server.inject_into_count(Fault::ApiError));
    assert_eq!(model.count_tokens(&request).await.unwrap_err().retry(), Retry::Exhausted);
}
