//! The attempts to get out.

use agentx_provider_local::{Guarantee, Isolation, Namespaces, Network, Probe, Verdict};

use super::{SCOPES, full, isolated, light};

/// What must be tried at the least, so that it proves something.
const LEAST: usize = 60;

async fn probe(isolation: Isolation) -> Option<Probe> {
    isolated(isolation.clone())?;
    Some(isolation.probe().await.unwrap())
}

fn broken(probe: &Probe) -> Vec<Guarantee> {
    let is_broken = |guarantee: &Guarantee| matches!(probe.verdict(*guarantee), Verdict::Broken { .. });
    Guarantee::ALL.into_iter().filter(is_broken).collect()
}

#[tokio::test]
async fn nothing_is_got_under_full_isolation() {
    for scope in SCOPES {
        let Some(probe) = probe(full(scope)).await else { continue };
        for attempt in &probe.attempts {
            assert!(!attempt.inside.got(), "{scope:?}: {attempt:?}");
        }
        let counted = probe.attempts.iter().filter(|attempt| attempt.counts()).count();
        assert!(counted >= LEAST, "only {counted} attempts would have worked outside");
        assert!(probe.holds(), "{probe}");
        // What the machine itself denies outside is told by name.
        let rest: Vec<_> =
            probe.attempts.iter().filter(|attempt| !attempt.counts()).map(|it| &it.name).collect();
        eprintln!("{scope:?}: {counted} attempts got nothing; not counted: {rest:?}");
    }
}

#[tokio::test]
async fn outside_the_attempts_work() {
    let probe = Isolation::new().probe().await.unwrap();
    let worked = probe.attempts.iter().filter(|attempt| attempt.outside.got()).count();
    assert!(worked >= LEAST, "only {worked} attempts work outside");
    // They get what they claim: the witness's own word.
    for name in ["read", "unix", "tcp", "memory", "shared-memory", "environment", "inherited-descriptor"] {
        let attempt = probe.attempts.iter().find(|attempt| attempt.name == name).unwrap();
        let agentx_provider_local::Outcome::Got(secret) = &attempt.outside else { continue };
        assert!(secret.starts_with("agentx-probe-secret-"), "{attempt:?}");
    }
    assert!(!probe.holds());
}

#[tokio::test]
async fn each_missing_part_is_caught() {
    let variants: [(&str, Isolation, &[Guarantee]); 6] = [
        ("no landlock", Isolation::full().with_landlock(false), &[Guarantee::Processes]),
        (
            "no seccomp",
            Isolation::full().with_seccomp(false),
            &[Guarantee::Files, Guarantee::Processes, Guarantee::Network, Guarantee::Kernel],
        ),
        ("the host's network", Isolation::full().with_network(Network::Host), &[Guarantee::Network]),
        ("no protection", Isolation::full().without_protected(), &[Guarantee::Protected]),
        (
            "no namespaces",
            light(),
            &[Guarantee::Files, Guarantee::Protected, Guarantee::Processes, Guarantee::Network],
        ),
        (
            "namespaces alone",
            Isolation::new().with_namespaces(Some(Namespaces::PerOwner)),
            &[Guarantee::Protected, Guarantee::Processes, Guarantee::Network, Guarantee::Kernel],
        ),
    ];
    for (name, isolation, expected) in variants {
        let Some(probe) = probe(isolation).await else { continue };
        let broken = broken(&probe);
        assert!(expected.iter().all(|guarantee| broken.contains(guarantee)), "{name}:\n{probe}");
        assert!(!probe.holds(), "{name}");
    }
}

#[tokio::test]
async fn a_part_holds_what_it_says() {
    // Landlock and the filter, without namespaces: files can't be read or written, and the kernel's parts are closed.
    let Some(probe) = probe(light()).await else { return };
    for attempt in probe.attempts.iter().filter(|attempt| attempt.inside.got()) {
        // Names, times and modes of files are beyond Landlock, and so are pathname sockets; see the documentation.
        let known = match attempt.guarantee {
            Guarantee::Files => {
                ["look-at", "look-at-link", "watch", "change-mode", "change-times", "change-attribute"]
                    .contains(&attempt.name.as_str())
            }
            Guarantee::Protected | Guarantee::Network => true,
            Guarantee::Processes => {
                !["memory", "environment", "trace", "seize", "read-memory", "take-descriptor", "signal"]
                    .contains(&attempt.name.as_str())
            }
            _ => false,
        };
        assert!(known, "{attempt:?}");
    }
}

#[tokio::test]
async fn a_process_tells_what_its_isolation_holds() {
    let Some((process, _dir)) = isolated(full(Namespaces::PerOwner)) else { return };
    assert!(process.probe().await.unwrap().holds());
}
