use std::sync::Arc;

use futures::{StreamExt, stream};

use super::table::{Region, Table};
use crate::{DirEntry, EntryStream, ErrorKind, ListOptions, Metadata, ResourcePath};

/// The entries of a directory: those of the file system that holds it, as far as no mount hides them, then the mount
/// points and the ways to them, then, in a recursive list, what the mounts have.
pub(super) fn list(table: &Arc<Table>, path: &ResourcePath, options: ListOptions) -> EntryStream {
    let (region, inner) = match table.find(path) {
        Ok(found) => found,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let fixed = table.fixed_below(path, options.recursive);
    let fixed = stream::iter(fixed).map(|path| Ok(DirEntry::new(path, Metadata::directory())));
    let mounts = if options.recursive { table.mounts_below(path) } else { Vec::new() };
    let (below, shown) = (Arc::clone(table), path.clone());
    let mounts = stream::iter(mounts).flat_map(move |mount| {
        entries(&below, mount, &ResourcePath::root(), &shown, ListOptions::recursive())
    });
    let all = entries(table, region, &inner, path, options).chain(fixed).chain(mounts);
    // After an error there is nothing more.
    all.scan(false, |ended, entry| {
        let item = (!*ended).then_some(entry);
        *ended |= matches!(item, Some(Err(_)));
        std::future::ready(item)
    })
    .boxed()
}

/// The entries of `region` below `inner` that are its own to show.
fn entries(
    table: &Arc<Table>,
    region: Region,
    inner: &ResourcePath,
    asked: &ResourcePath,
    options: ListOptions,
) -> EntryStream {
    let list = region.fs.list(inner, options);
    let (table, asked) = (Arc::clone(table), asked.clone());
    // A directory above a mount is there, be it that nothing or a file is in its place.
    let may_be_missing = table.is_fixed(&asked);
    list.filter_map(move |entry| {
        let shown = match entry {
            Ok(entry) => shown(&table, &region, entry).map(Ok),
            Err(error)
                if may_be_missing
                    && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                None
            }
            Err(error) => Some(Err(region.error(error, &asked))),
        };
        std::future::ready(shown)
    })
    .boxed()
}

fn shown(table: &Table, region: &Region, entry: DirEntry) -> Option<DirEntry> {
    let Some(path) = &entry.path else { return Some(entry) };
    let Some(outer) = region.outer(path) else {
        return Some(DirEntry::unaddressable(entry.name, entry.metadata));
    };
    let (owner, _) = table.find(&outer).ok()?;
    (owner.place == region.place && !table.is_fixed(&outer)).then(|| DirEntry::new(outer, entry.metadata))
}
