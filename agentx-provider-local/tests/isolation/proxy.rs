//! The network through a proxy with a list of names.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use agentx_provider_local::{AllowList, LocalProcess, Network};

use super::{SCOPES, full, isolated, said, sh};

/// A server of the host that answers each request with what it got.
fn server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => return,
                        Ok(count) => request.extend_from_slice(&buffer[..count]),
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nseen: ");
                let _ = stream.write_all(&request);
            });
        }
    });
    port
}

/// What bash gets for a request to the proxy.
async fn ask(process: &LocalProcess, request: &str) -> String {
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/3128 || exit 9; printf '{request}' >&3; cat <&3");
    said(process, &script).await
}

#[tokio::test]
async fn a_name_on_the_list_is_reached_and_the_list_changes_live() {
    let port = server();
    for scope in SCOPES {
        let list = AllowList::new(["localhost"]).unwrap();
        let Some((process, _dir)) = isolated(full(scope).with_network(Network::Proxy(list.clone()))) else {
            continue;
        };
        let process = process.with_shell("bash");
        let get = format!("GET http://localhost:{port}/a HTTP/1.1\\r\\nHost: evil\\r\\n\\r\\n");
        let answer = ask(&process, &get).await;
        assert!(answer.contains("seen: GET /a HTTP/1.1\r\nHost: localhost:"), "{answer}");
        let tunnel = format!("CONNECT localhost:{port} HTTP/1.1\\r\\n\\r\\nGET /b HTTP/1.1\\r\\n\\r\\n");
        let answer = ask(&process, &tunnel).await;
        assert!(answer.contains("200 Connection established") && answer.contains("seen: GET /b"), "{answer}");

        list.remove("localhost");
        let answer = ask(&process, &get).await;
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("localhost is not on the list"),
            "{answer}"
        );
        list.add("localhost").unwrap();
        assert!(ask(&process, &get).await.contains("seen: GET /a"));
    }
}

#[tokio::test]
async fn nothing_else_is_reached() {
    let port = server();
    let list = AllowList::new(["example.invalid", "*.localhost"]).unwrap();
    let Some((process, _dir)) = isolated(full(SCOPES[0]).with_network(Network::Proxy(list))) else { return };
    let process = process.with_shell("bash");
    // Past the proxy there is nothing.
    assert!(!sh(&process, &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")).await.status.success());
    for target in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")] {
        let answer = ask(&process, &format!("CONNECT {target} HTTP/1.1\\r\\n\\r\\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    // A name on the list that leads to the host is not followed.
    let answer = ask(&process, &format!("CONNECT a.localhost:{port} HTTP/1.1\\r\\n\\r\\n")).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(ask(&process, "nonsense\\r\\n\\r\\n").await.starts_with("HTTP/1.1 400 "));
    let variables = said(&process, "echo $HTTPS_PROXY $http_proxy $NO_PROXY").await;
    assert_eq!(variables, "http://127.0.0.1:3128 http://127.0.0.1:3128 localhost,127.0.0.1,::1");
}
