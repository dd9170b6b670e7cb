use agentx::resource::{
    ErrorKind, FileSystem, FileSystemExt, ListOptions, MkdirOptions, ResourcePath, WriteOptions,
};
use agentx_provider_cloudflare::{Container, ContainerOptions};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    proxy::Proxy,
    support::{Served, TOKEN},
};

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

#[tokio::test]
async fn a_content_or_a_list_that_is_cut_off_is_an_error() {
    let served = Served::start().await;
    let proxy = Proxy::before(&served).await;
    let files = Container::connect(&proxy.at(), ContainerOptions::default()).await.unwrap().files();
    files.write_file(&path("/large"), Bytes::from(vec![b'x'; 1 << 20])).await.unwrap();
    for name in 0..500 {
        std::fs::write(served.root.join(format!("file-{name}")), "").unwrap();
    }
    for after in [1, 10_000, 30_000] {
        proxy.cut(1, after);
        let error = files.read_file(&path("/large")).await.unwrap_err();
        assert!([ErrorKind::Truncated, ErrorKind::Unavailable].contains(&error.kind()), "{error}");
        proxy.cut(1, after);
        let listed = files.list(&ResourcePath::root(), ListOptions::default()).try_collect::<Vec<_>>().await;
        let error = listed.unwrap_err();
        assert!([ErrorKind::Truncated, ErrorKind::Unavailable].contains(&error.kind()), "{error}");
    }
    assert_eq!(files.read_file(&path("/large")).await.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_not_taken_for_done_or_failed() {
    let served = Served::start().await;
    let proxy = Proxy::before(&served).await;
    let files = Container::connect(&proxy.at(), ContainerOptions::default()).await.unwrap().files();
    proxy.cut(1, 0);
    let error = files.write_file(&path("/a"), "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    proxy.cut(1, 0);
    let error = files.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    drop(served.kill());
    let error = files.write_file(&path("/a"), "two").await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
}

#[tokio::test]
async fn a_writer_on_a_connection_that_breaks_publishes_nothing() {
    let served = Served::start().await;
    let files = served.container().await.files();
    files.write_file(&path("/a"), "old").await.unwrap();
    let mut writer = files.writer(&path("/a"), WriteOptions::default()).await.unwrap();
    for _ in 0..4 {
        writer.write(Bytes::from(vec![b'x'; 1 << 20])).await.unwrap();
    }
    drop(writer);
    assert_eq!(files.read_to_string(&path("/a")).await.unwrap(), "old");
    let mut writer = files.writer(&path("/a"), WriteOptions::default()).await.unwrap();
    // Four bytes of zero are a content, and not its end.
    writer.write(Bytes::from_static(&[0; 4])).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(files.read_file(&path("/a")).await.unwrap(), &[0; 4][..]);
}

/// Sends a request as it is, and gives the status line of the answer; nothing where there is none. One that `ends` is
/// followed by the end of what the client says, which a server may take for the end of the connection.
async fn raw(served: &Served, request: &str, ends: bool) -> String {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    if ends {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    // A reset is an end, too.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_body_of_another_length_than_was_said_publishes_nothing() {
    let served = Served::start().await;
    let files = served.container().await.files();
    let head = |query: &str, headers: &str| {
        format!(
            "PUT /agentx/v1/files/content?path=/a&mode=overwrite&create_parents=false{query} HTTP/1.1\r\nhost: x\r\n\
             authorization: Bearer {TOKEN}\r\nconnection: close\r\n{headers}\r\n\r\n"
        )
    };
    for (query, headers, body) in [
        // Shorter and longer than was said beside it, though the connection is in good order.
        ("&len=5", "content-length: 3", "abc"),
        ("&len=2", "content-length: 3", "abc"),
        // Cut off in the connection's own terms.
        ("&len=5", "content-length: 5", "abc"),
        ("&len=5", "transfer-encoding: chunked", "3\r\nabc\r\n"),
        // In pieces, without their end; too long a piece; something behind the end.
        ("", "content-length: 7", "\0\0\0\x03abc"),
        ("", "content-length: 4", "\x7f\x7f\x7f\x7f"),
        ("", "content-length: 5", "\0\0\0\0x"),
    ] {
        let answer = raw(&served, &(head(query, headers) + body), true).await;
        assert!(!answer.contains(" 200 "), "{query} {headers} {body:?}: {answer}");
        assert!(!files.exists(&path("/a")).await.unwrap(), "{query} {headers} {body:?}");
    }
    let answer = raw(&served, &(head("&len=3", "content-length: 3") + "abc"), false).await;
    assert!(answer.contains(" 200 "), "{answer}");
    assert_eq!(files.read_to_string(&path("/a")).await.unwrap(), "abc");
}

#[tokio::test]
async fn what_is_no_path_and_what_leads_out_is_refused() {
    let served = Served::start().await;
    std::os::unix::fs::symlink("/etc", served.root.join("out")).unwrap();
    let files = served.container().await.files();
    let error = files.read_file(&path("/out/passwd")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Escapes);
    let get = format!(
        "GET /agentx/v1/files/content?path=/../etc/passwd HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n"
    );
    let answer = raw(&served, &get, false).await;
    assert!(answer.contains(" 400 "), "{answer}");
}
