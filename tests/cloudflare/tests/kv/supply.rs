//! A key for a model out of KV rotates without a restart.

use std::{sync::Arc, time::Duration};

use agentx::SystemClock;
use agentx_conformance::{Case, Fresh, Outcome, Profile, llm};
use agentx_core::{ErrorKind, Model, ModelRequest, Reply, ScriptedModel};
use agentx_driver_claude::messages::{MessagesModel, ReqwestTransport};
use agentx_provider_cloudflare::EnvSupply;
use agentx_resource::{ApiSupply, LLMProvider};
use agentx_tests::messages_server::{Fault, MessagesServer};
use agentx_tests_cloudflare::Place;
use futures::StreamExt;

use super::namespace;

fn supply(place: &Place) -> EnvSupply {
    let kv = namespace(place, place.explorer_api()).with_ttl(Duration::ZERO);
    EnvSupply::new(Arc::new(kv), "API_KEY", Arc::new(SystemClock))
}

async fn fresh() -> Fresh<dyn LLMProvider<ApiSupply>> {
    let place = Place::take();
    place.put_key("API_KEY", llm::KEY.as_bytes());
    Fresh::new(Arc::new(supply(&place)) as Arc<dyn LLMProvider<ApiSupply>>)
}

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn all_that_a_supplier_does() -> Outcome {
    Case::run_all(llm::CASES, fresh, &Profile::new())
}

fn unauthenticated() -> Fault {
    let body = r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
    Fault::Response { status: 401, headers: Vec::new(), body: body.to_owned() }
}

/// The key is revoked and replaced within a turn: the request is made again with the new one, and the turn goes on.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_revoked_key_is_read_anew_within_the_call() {
    let place = Place::take();
    let server = MessagesServer::start(ScriptedModel::new("claude-test", |_| Ok(Reply::text("Hello."))));
    place.put_key("API_KEY", b"sk-first-key");
    place.put_key("BASE_URL", server.base_url().as_bytes());
    let supply = supply(&place).with_base_url_from("BASE_URL");
    let told = supply.clone();
    let model = MessagesModel::new(Arc::new(supply), ReqwestTransport::new().unwrap(), Arc::new(SystemClock))
        .with_on_refused(move |refused| {
            let told = told.clone();
            async move { told.refused(&refused).await }
        });
    let ask =
        || model.call(ModelRequest::new(vec![agentx_core::MessageBody::user("Hi?")])).collect::<Vec<_>>();

    assert!(ask().await.iter().all(Result::is_ok));
    place.put_key("API_KEY", b"sk-second-key");
    assert!(ask().await.iter().all(Result::is_ok), "the first key is still good");
    server.inject(unauthenticated());
    assert!(ask().await.iter().all(Result::is_ok));
    let keys = |server: &MessagesServer| -> Vec<_> {
        server.requests().iter().map(|request| request.header("x-api-key").unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&server), ["sk-first-key", "sk-first-key", "sk-first-key", "sk-second-key"]);

    // Without another key the refusal is told, and nothing is tried again.
    server.inject(unauthenticated());
    let error = ask().await.pop().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(keys(&server).len(), 5);
}
