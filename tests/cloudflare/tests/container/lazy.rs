//! A container that is there only while commands run, over R2 and behind the Worker.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use agentx_provider_cloudflare::{
    ContainerEvent, ContainerOptions, LazyContainer, LazyOptions, R2Bucket, R2FileSystem, R2Keys,
};
use agentx_resource::{ErrorKind, ExecRequest, FileSystemExt, ProcessExt, ResourcePath};
use agentx_tests_cloudflare::{BUCKET, Place, S3_CREDENTIALS};

use crate::engine::Engine;

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn the_tree_goes_from_r2_to_the_container_and_back_and_a_lost_one_takes_only_what_was_not_saved() {
    let (place, engine) = (Place::take(), Engine::start().await);
    let (id, secret) = S3_CREDENTIALS;
    let bucket = R2Bucket::new("local", BUCKET, R2Keys::new(id, secret))
        .with_endpoint(place.s3_endpoint())
        .with_prefix(place.prefix());
    let store = R2FileSystem::connect(&bucket).unwrap();
    let events = Arc::<Mutex<Vec<ContainerEvent>>>::default();
    let told = Arc::clone(&events);
    let waits = ContainerOptions::default().with_reattach(Duration::from_secs(2));
    let options = LazyOptions::new(engine.root().to_str().unwrap())
        .with_container(waits)
        .with_loss(Duration::from_secs(1))
        .with_observer(move |event| told.lock().unwrap().push(event.clone()));
    let lazy = LazyContainer::new(Arc::new(store.clone()), Arc::new(engine.container(&place)), options);
    let (files, process) = (lazy.files(), lazy.process());

    files.write_file(&path("/in.txt"), "3\n1\n2\n").await.unwrap();
    assert_eq!(engine.started(), 0);
    let sorted = process.exec(ExecRequest::shell("sort in.txt | tee out.txt")).await.unwrap();
    assert_eq!(sorted.stdout_text(), "1\n2\n3\n");
    assert_eq!(files.read_to_string(&path("/out.txt")).await.unwrap(), "1\n2\n3\n");
    lazy.release().await.unwrap();
    assert!(!engine.runs(), "the class has ended it");
    assert_eq!(store.read_to_string(&path("/out.txt")).await.unwrap(), "1\n2\n3\n");

    process.exec(ExecRequest::shell("echo saved > saved.txt")).await.unwrap();
    lazy.sync().await.unwrap().unwrap();
    process.exec(ExecRequest::shell("echo unsaved > unsaved.txt")).await.unwrap();
    engine.kill();
    let error = process.exec(ExecRequest::shell("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error:?}");
    assert_eq!(files.read_to_string(&path("/saved.txt")).await.unwrap(), "saved\n");
    assert!(!files.exists(&path("/unsaved.txt")).await.unwrap());

    let events = events.lock().unwrap();
    let lost = events.iter().filter(|event| matches!(event, ContainerEvent::Lost { .. })).count();
    let cold: Vec<Duration> = events
        .iter()
        .filter_map(|event| match event {
            ContainerEvent::Started { took, .. } => Some(*took),
            _ => None,
        })
        .collect();
    assert_eq!((lost, cold.len()), (1, 2), "{events:?}");
}
