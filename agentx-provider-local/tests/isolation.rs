//! Isolation: what holds, what is caught where a part is missing, and how it agrees with the rest.
#![cfg(test)]

mod isolation {
    mod conformance;
    mod engines;
    mod probe;
    mod proxy;
    mod refusals;
    mod tree;
    mod views;

    use agentx_provider_local::{AllowList, Isolation, LocalProcess, Namespaces, Network};
    use agentx_resource::{ErrorKind, ExecOutput, ExecRequest, ProcessExt};
    use tempfile::TempDir;

    /// Everything, for each command or for all together.
    const SCOPES: [Namespaces; 2] = [Namespaces::PerCommand, Namespaces::PerOwner];

    fn full(scope: Namespaces) -> Isolation {
        Isolation::full().with_namespaces(Some(scope))
    }

    /// Landlock and the filter alone.
    fn light() -> Isolation {
        Isolation::new().with_landlock(true).with_seccomp(true)
    }

    /// Commands under this isolation, in a directory of their own. Says what is left out where the machine lacks it.
    fn isolated(isolation: Isolation) -> Option<(LocalProcess, TempDir)> {
        let dir = tempfile::tempdir().unwrap();
        match LocalProcess::new(dir.path()).unwrap().with_isolation(isolation) {
            Ok(process) => Some((process, dir)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                // Where the machine can do everything in the plainest case, it can do this.
                let plain = LocalProcess::new(dir.path()).unwrap().with_isolation(Isolation::full());
                assert!(plain.is_err() || !is_ours(&error), "{error}");
                eprintln!("LEFT OUT: {error}");
                None
            }
        }
    }

    /// What of isolation this machine can do, and what the other tests leave out.
    #[test]
    fn summary() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let kinds = [
            ("for each command", full(Namespaces::PerCommand)),
            ("for all commands", full(Namespaces::PerOwner)),
            ("behind a proxy", Isolation::full().with_network(Network::Proxy(AllowList::default()))),
            ("Landlock and seccomp alone", light()),
            ("bubblewrap", engines::bubblewrap()),
            ("limits of the tree", Isolation::new().with_tree_limits(tree::limits())),
        ];
        for (name, isolation) in kinds {
            let dir = tempfile::tempdir().unwrap();
            match LocalProcess::new(dir.path()).unwrap().with_isolation(isolation) {
                Ok(_) => println!("agentx-provider-local: isolation, {name}: tested"),
                Err(error) => println!("LEFT OUT: isolation, {name} ({error})"),
            }
        }
    }

    /// A host of its own that dropping kills, also where a test fails.
    struct Host(std::process::Child);

    impl Drop for Host {
        fn drop(&mut self) {
            // An error means that it has ended.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Whether the helper refused, and not a program that may not be installed, or groups that the user may not make.
    fn is_ours(error: &agentx_resource::Error) -> bool {
        let told = error.to_string();
        !told.contains("bwrap is not there") && !told.contains("can't limit whole trees")
    }

    async fn sh(process: &LocalProcess, script: &str) -> ExecOutput {
        process.exec(ExecRequest::shell(script)).await.unwrap()
    }

    async fn said(process: &LocalProcess, script: &str) -> String {
        let output = sh(process, script).await;
        assert!(output.status.success(), "{script}: {} {}", output.status, output.stderr_text());
        output.stdout_text().trim_end().to_owned()
    }
}
