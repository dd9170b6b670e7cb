use std::sync::Arc;

use agentx_resource::{DirEntry, EntryStream, Error, ErrorKind, ListOptions, ResourcePath, Result};
use bytes::BytesMut;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};

use super::path;
use crate::container::{
    http::{Http, Request, fail},
    wire::{ListLine, Listed},
};

/// The longest line of a list: 64 KiB, many times the longest path.
const LINE_BYTES: usize = 64 << 10;

pub(super) fn list(http: Arc<Http>, at: ResourcePath, options: &ListOptions) -> EntryStream {
    let request = Request::get("list", path("list"))
        .with("path", at.as_str())
        .with("recursive", options.recursive.to_string());
    let entries = async move {
        let response = http.send(request).await?;
        Ok::<_, Error>(entries(http.body("list", response)))
    };
    let named = move |error: Error| if error.path().is_some() { error } else { error.with_path(&at) };
    futures::stream::once(entries).try_flatten().map_err(named).boxed()
}

struct Lines {
    body: BoxStream<'static, Result<bytes::Bytes>>,
    rest: BytesMut,
    told: u64,
}

/// The entries of a list, whose last line must say that it is all.
fn entries(body: BoxStream<'static, Result<bytes::Bytes>>) -> impl Stream<Item = Result<DirEntry>> + Send {
    let lines = Lines { body, rest: BytesMut::new(), told: 0 };
    futures::stream::unfold(Some(lines), |lines| async move {
        let mut lines = lines?;
        match lines.next().await {
            Ok(Some(entry)) => Some((Ok(entry), Some(lines))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Lines {
    async fn next(&mut self) -> Result<Option<DirEntry>> {
        let mut looked = 0;
        loop {
            let unseen = self.rest.get(looked..).unwrap_or_default();
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(looked + end + 1);
                return self.take(&line);
            }
            looked = self.rest.len();
            if looked > LINE_BYTES {
                return Err(fail(ErrorKind::LimitExceeded, "list")
                    .with_message(format!("a line of more than {LINE_BYTES} bytes")));
            }
            match self.body.next().await {
                Some(piece) => self.rest.extend_from_slice(&piece?),
                None => {
                    return Err(fail(ErrorKind::Truncated, "list").with_message("the list has no end"));
                }
            }
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<Option<DirEntry>> {
        let corrupt = || fail(ErrorKind::Corrupt, "list");
        match serde_json::from_slice(line) {
            Ok(ListLine::Entry(entry)) => {
                self.told += 1;
                listed(entry).map(Some)
            }
            Ok(ListLine::Failed(fault)) => Err(fault.into()),
            Ok(ListLine::End(count)) if count == self.told => Ok(None),
            Ok(ListLine::End(count)) => {
                Err(corrupt().with_message(format!("{} entries came of {count}", self.told)))
            }
            Err(source) => {
                Err(corrupt().with_message("a line that is not what it must be").with_source(source))
            }
        }
    }
}

fn listed(entry: Listed) -> Result<DirEntry> {
    DirEntry::try_from(entry)
}

#[cfg(test)]
mod tests {
    use agentx_resource::Metadata;
    use bytes::Bytes;
    use futures::executor::block_on;

    use super::*;

    fn text() -> Vec<u8> {
        let mut text = Vec::new();
        for name in ["/a", "/b"] {
            let entry = DirEntry::new(ResourcePath::new(name).unwrap(), Metadata::file(1));
            text.extend(serde_json::to_vec(&ListLine::Entry(Listed::from(&entry))).unwrap());
            text.push(b'\n');
        }
        text.extend(serde_json::to_vec(&ListLine::End(2)).unwrap());
        text.push(b'\n');
        text
    }

    fn decode(pieces: &[&[u8]]) -> (Vec<String>, Option<ErrorKind>) {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let all: Vec<_> = block_on(entries(futures::stream::iter(pieces).boxed()).collect());
        let names = all.iter().flatten().map(|entry| entry.name.clone()).collect();
        (names, all.iter().find_map(|entry| entry.as_ref().err().map(Error::kind)))
    }

    #[test]
    fn a_list_is_the_same_wherever_it_is_cut_and_an_error_where_it_ends_early() {
        let text = text();
        let whole = (vec!["a".to_owned(), "b".to_owned()], None);
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(decode(&[head, tail]), whole, "cut at {at}");
            if at < text.len() {
                assert_eq!(decode(&[head]).1, Some(ErrorKind::Truncated), "ended at {at}");
            }
        }
    }

    #[test]
    fn a_list_that_lacks_an_entry_is_corrupt() {
        let text = text();
        let first = text.iter().position(|byte| *byte == b'\n').unwrap();
        assert_eq!(decode(&[&text[first + 1..]]).1, Some(ErrorKind::Corrupt));
    }
}
