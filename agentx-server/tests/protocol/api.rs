//! Requests of the REST API.

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::Served;

pub(crate) fn client() -> Client {
    // Built with other crates, reqwest has TLS, and wants its cryptography chosen also where none is spoken.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new()
}

pub(crate) struct Api<'s> {
    pub(crate) served: &'s Served,
    pub(crate) key: Option<&'s str>,
}

impl Api<'_> {
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = client().request(method, format!("http://{}{path}", self.served.address));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    pub(crate) async fn agent(&self, container: &str) -> (String, String) {
        self.json(Method::POST, "/api/containers", Some(json!({"containerId": container}))).await;
        let images = format!("/api/containers/{container}/images");
        let (_, image) = self.json(Method::POST, &images, Some(json!({"name": "Chat"}))).await;
        let image = image["imageId"].as_str().unwrap().to_owned();
        let (status, run) = self.json(Method::POST, &format!("/api/images/{image}/agents"), None).await;
        assert_eq!(status, StatusCode::CREATED);
        (image, run["agentId"].as_str().unwrap().to_owned())
    }
}
