use std::{sync::Arc, time::Duration};

use agentx_resource::{
    Child, Clock, ExecRequest, FileSystem, Layer, MkdirOptions, Process, ProcessCapabilities, ResourcePath,
    Result,
    layer::{Cache, Chroot, Freshness},
    memory::MemoryFileSystem,
};
use async_trait::async_trait;

use super::PairFault as Fault;
use crate::{pair::Pair, process::toolbox};

/// Files and commands in memory that do not belong together as they should.
///
/// # Errors
/// Never: what is made in memory can be made.
pub async fn faulty_pair(clock: Arc<dyn Clock>, fault: Fault) -> Result<Pair> {
    let tree: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let cache = Cache::new(Freshness::For(Duration::from_hours(1)), Arc::clone(&clock));
    let commands = toolbox(clock).with_root("/workspace");
    let process: Arc<dyn Process> = match fault {
        Fault::SplitsTrees => Arc::new(commands),
        Fault::MisstatesRoot => Arc::new(Misstated(commands.with_file_system(Arc::clone(&tree)))),
        Fault::Caches | Fault::ShiftsRoot => Arc::new(commands.with_file_system(Arc::clone(&tree))),
    };
    match fault {
        Fault::ShiftsRoot => {}
        Fault::Caches => return Ok(Pair { files: cache.layer(tree), process }),
        _ => return Ok(Pair { files: tree, process }),
    }
    let below = ResourcePath::new("/project")?;
    tree.mkdir(&below, MkdirOptions::default()).await?;
    Ok(Pair { files: Chroot::new(below).layer(tree), process })
}

/// Commands that are not where they are said to be.
#[derive(Debug)]
struct Misstated<P>(P);

#[async_trait]
impl<P: Process> Process for Misstated<P> {
    fn capabilities(&self) -> ProcessCapabilities {
        let mut capabilities = self.0.capabilities();
        "/".clone_into(&mut capabilities.root);
        capabilities
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        self.0.spawn(request).await
    }
}
