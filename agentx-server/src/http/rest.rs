//! Requests that have one answer.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde_json::{Value, json};

use super::body::Body;
use crate::{
    Owner,
    failure::{Code, Failure},
    server::Shared,
    service::{Method, Object},
};

type Caller = Extension<Owner>;
type Served = State<Arc<Shared>>;
type Answered = Result<Json<Value>, Failure>;

/// Asks the service, with one more parameter from the path.
async fn call(
    shared: &Arc<Shared>,
    owner: &Owner,
    method: Method,
    mut params: Object,
    of: (&str, &str),
) -> Answered {
    params.insert(of.0.to_owned(), json!(of.1));
    Ok(Json(Value::Object(shared.call(owner, method, params).await?.result)))
}

/// One member of an answer; the resource is missing where that is null.
fn member(Json(mut answer): Json<Value>, name: &str, what: &str, id: &str) -> Answered {
    match answer.get_mut(name).map(Value::take) {
        Some(value) if !value.is_null() => Ok(Json(value)),
        _ => Err(Failure::not_found(what, id)),
    }
}

pub(super) async fn create_container(
    State(shared): Served,
    Extension(owner): Caller,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let answer = shared.call(&owner, Method::ContainerCreate, body).await?;
    Ok((StatusCode::CREATED, Json(Value::Object(answer.result))))
}

pub(super) async fn list_containers(State(shared): Served, Extension(owner): Caller) -> Answered {
    let answer = shared.call(&owner, Method::ContainerList, Object::new()).await?;
    Ok(Json(Value::Object(answer.result)))
}

pub(super) async fn get_container(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    let answer = call(&shared, &owner, Method::ContainerGet, Object::new(), ("containerId", &id)).await?;
    match answer.0.get("exists") {
        Some(Value::Bool(true)) => Ok(answer),
        _ => Err(Failure::not_found("Container", id)),
    }
}

pub(super) async fn delete_container(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    call(&shared, &owner, Method::ContainerDelete, Object::new(), ("containerId", &id)).await
}

pub(super) async fn create_image(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let answer = call(&shared, &owner, Method::ImageCreate, body, ("containerId", &id)).await?;
    Ok((StatusCode::CREATED, member(answer, "record", "Image", &id)?))
}

pub(super) async fn list_images(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    // Asked first: a container that is not there has no list.
    drop(get_container(State(shared.clone()), Extension(owner.clone()), Path(id.clone())).await?);
    call(&shared, &owner, Method::ImageList, Object::new(), ("containerId", &id)).await
}

pub(super) async fn get_image(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    let answer = call(&shared, &owner, Method::ImageGet, Object::new(), ("imageId", &id)).await?;
    member(answer, "record", "Image", &id)
}

pub(super) async fn update_image(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Answered {
    let params = Object::from_iter([("updates".to_owned(), Value::Object(body))]);
    let answer = call(&shared, &owner, Method::ImageUpdate, params, ("imageId", &id)).await?;
    member(answer, "record", "Image", &id)
}

pub(super) async fn delete_image(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    drop(get_image(State(shared.clone()), Extension(owner.clone()), Path(id.clone())).await?);
    call(&shared, &owner, Method::ImageDelete, Object::new(), ("imageId", &id)).await
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Page {
    after: Option<u64>,
    limit: Option<u64>,
}

pub(super) async fn image_messages(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answered {
    let Query(page) = page.map_err(|rejection| Failure::params(rejection.body_text()))?;
    let params =
        Object::from_iter([("after".to_owned(), json!(page.after)), ("limit".to_owned(), json!(page.limit))]);
    call(&shared, &owner, Method::ImageMessages, params, ("imageId", &id)).await
}

pub(super) async fn run_image(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let answer = call(&shared, &owner, Method::ImageRun, body, ("imageId", &id)).await?;
    let reused = answer.0.get("reused") == Some(&Value::Bool(true));
    Ok((if reused { StatusCode::OK } else { StatusCode::CREATED }, answer))
}

pub(super) async fn get_agent(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    let answer = call(&shared, &owner, Method::AgentGet, Object::new(), ("agentId", &id)).await?;
    member(answer, "agent", "Agent", &id)
}

pub(super) async fn destroy_agent(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    drop(get_agent(State(shared.clone()), Extension(owner.clone()), Path(id.clone())).await?);
    call(&shared, &owner, Method::AgentDestroy, Object::new(), ("agentId", &id)).await
}

pub(super) async fn interrupt(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    call(&shared, &owner, Method::AgentInterrupt, Object::new(), ("agentId", &id)).await
}

pub(super) async fn list_approvals(
    State(shared): Served,
    Extension(owner): Caller,
    Path(id): Path<String>,
) -> Answered {
    call(&shared, &owner, Method::ApprovalList, Object::new(), ("agentId", &id)).await
}

pub(super) async fn answer_approval(
    State(shared): Served,
    Extension(owner): Caller,
    Path((id, approval)): Path<(String, String)>,
    Body(body): Body,
) -> Answered {
    let mut params = body;
    params.insert("approvalId".to_owned(), json!(approval));
    if !params.contains_key("decision") {
        return Err(Failure::new(Code::InvalidParams, "decision is required: allow, allow_with or deny"));
    }
    call(&shared, &owner, Method::ApprovalAnswer, params, ("agentId", &id)).await
}
