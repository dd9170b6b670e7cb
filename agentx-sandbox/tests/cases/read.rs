use agentx_core::{ContentPart, ErrorKind, ToolOutput};
use serde_json::json;

use super::Pair;

pub async fn pages(pair: Pair) {
    let lines: Vec<_> = (1..=2500).map(|number| format!("line {number}")).collect();
    pair.put("/a.txt", lines.join("\n")).await;
    let first = pair.call("read", json!({"file_path": "a.txt"})).await;
    assert!(first.starts_with("     1\tline 1\n") && first.contains("  2000\tline 2000\n"));
    assert!(first.ends_with("[the file goes on behind line 2000: read on with offset 2001]"), "{first}");
    let rest = pair.call("read", json!({"file_path": "a.txt", "offset": 2001})).await;
    assert!(rest.starts_with("  2001\tline 2001\n") && rest.ends_with("  2500\tline 2500\n"));
    let few = pair.call("read", json!({"file_path": "a.txt", "offset": 2499, "limit": 2})).await;
    assert_eq!(few, "  2499\tline 2499\n  2500\tline 2500\n");
}

pub async fn notes(pair: Pair) {
    pair.put("/empty", "").await;
    assert_eq!(pair.call("read", json!({"file_path": "empty"})).await, "(the file is empty)");
    pair.put("/two", "a\nb").await;
    let behind = pair.call("read", json!({"file_path": "two", "offset": 3})).await;
    assert_eq!(behind, "(the file has 2 lines; the offset 3 is behind its end)");
    pair.put("/long", "x".repeat(3000)).await;
    let long = pair.call("read", json!({"file_path": "long"})).await;
    assert_eq!(long, format!("     1\t{} [cut: the line has 3000 bytes]\n", "x".repeat(2000)));
    pair.put("/latin1", b"caf\xe9").await;
    assert_eq!(pair.call("read", json!({"file_path": "latin1"})).await, "     1\tcaf\u{fffd}\n");
    for input in
        [json!({"file_path": "two", "limit": 0}), json!({"file_path": "two", "offset": -1}), json!({})]
    {
        assert_eq!(pair.refused("read", input).await.kind(), ErrorKind::InvalidInput);
    }
}

pub async fn images_and_binaries(pair: Pair) {
    pair.put("/pixel.dat", b"\x89PNG\r\n\x1a\n12345").await;
    let image = pair.try_call("read", json!({"file_path": "pixel.dat"})).await.unwrap();
    let data = "iVBORw0KGgoxMjM0NQ==".to_owned();
    let expected = ContentPart::Image { data, media_type: "image/png".to_owned() };
    assert_eq!(image, ToolOutput::Content(vec![expected]));

    let mut large = b"\x89PNG\r\n\x1a\n".to_vec();
    large.resize(3 << 20, 0);
    pair.put("/large.png", large.clone()).await;
    assert!(pair.try_call("read", json!({"file_path": "large.png"})).await.is_ok());
    // Its base64 has more than 5 MiB.
    large.resize((15 << 18) + 1, 0);
    pair.put("/large.png", large).await;
    let error = pair.refused("read", json!({"file_path": "large.png"})).await;
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);

    pair.put("/a.pdf", "%PDF-1.7 ...").await;
    let error = pair.refused("read", json!({"file_path": "a.pdf"})).await.to_string();
    assert!(error.contains("a PDF document of 12 bytes"), "{error}");
    pair.put("/data", b"abc\0def").await;
    let error = pair.refused("read", json!({"file_path": "data"})).await.to_string();
    assert!(error.contains("binary data of 7 bytes") && error.contains(&pair.shown("/data")), "{error}");
}

pub async fn directories_and_missing_files(pair: Pair) {
    pair.put("/d/x", "").await;
    let directory = pair.refused("read", json!({"file_path": "d"})).await;
    assert_eq!(directory.kind(), ErrorKind::IsADirectory);
    assert!(directory.to_string().contains("use ls"), "{directory}");
    let missing = pair.refused("read", json!({"file_path": "d/y"})).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(missing.path(), Some(&*pair.shown("/d/y")), "the path is the one that a command sees");
}

pub async fn write_creates_parents(pair: Pair) {
    let told = pair.call("write", json!({"file_path": "x/y/z.txt", "content": "grüße"})).await;
    assert_eq!(told, format!("Wrote 7 bytes to {}.", pair.shown("/x/y/z.txt")));
    pair.call("write", json!({"file_path": pair.shown("/x/y/z.txt"), "content": ""})).await;
    assert_eq!(pair.get("/x/y/z.txt").await, "");
    let directory = pair.refused("write", json!({"file_path": "x", "content": ""})).await;
    assert_eq!(directory.kind(), ErrorKind::IsADirectory);
    let below_file = pair.refused("write", json!({"file_path": "x/y/z.txt/a", "content": ""})).await;
    assert_eq!(below_file.kind(), ErrorKind::NotADirectory);
}
