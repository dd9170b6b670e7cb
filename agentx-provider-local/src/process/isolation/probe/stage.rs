use std::{
    borrow::Cow,
    env, fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use agentx_resource::{Child, ErrorKind, ExecEvent, ExecRequest, Process, ResourcePath, Result, Stdin};
use rustix::{
    fs::{Mode, OFlags, open},
    rand::{GetRandomFlags, getrandom},
};

use crate::{
    LocalProcess,
    process::{
        error, failure,
        helper::{self, Program},
        isolation::Isolation,
    },
};

/// The program of the attempts, below each root.
pub(super) const PROGRAM: &str = "agentx-probe";
/// Roots: of the isolated commands, of the others, and the place that the first must not reach.
const INSIDE: &str = "inside";
const WITHOUT: &str = "without";
const OUTSIDE: &str = "outside";
/// More than the witness has to say.
const MAX_WORDS: usize = 4096;

/// Directories for a probe. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Stage {
    base: PathBuf,
    inside: PathBuf,
    without: PathBuf,
    random: u128,
    /// A descriptor that a careless host lets its children have.
    leaked: Option<OwnedFd>,
}

/// The process that the attempts aim at. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Witness {
    words: Vec<String>,
    secret: String,
    _child: Box<dyn Child>,
}

impl Stage {
    pub(super) fn build(isolation: &Isolation, program: &Program) -> Result<Self> {
        let failed = |source| failure("probe", source);
        let mut random = [0; 16];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(|errno| failed(errno.into()))?;
        let random = u128::from_ne_bytes(random);
        let base = base(isolation)?.join(format!("agentx-probe-{random:032x}"));
        fs::DirBuilder::new().mode(0o700).create(&base).map_err(failed)?;
        let mut stage =
            Self { inside: base.join(INSIDE), without: base.join(WITHOUT), base, random, leaked: None };
        let program = match program {
            // The same program, as it is installed.
            Program::File(path) => {
                fs::read(path).map_err(|source| failed(source).with_path(path.display()))?.into()
            }
            Program::Embedded | Program::None => helper::program().map(Cow::Borrowed).ok_or_else(|| {
                error(ErrorKind::Unsupported, "probe")
                    .with_message("the helper is not built for this machine")
            })?,
        };
        fs::create_dir(stage.base.join(OUTSIDE)).map_err(failed)?;
        for root in [&stage.inside, &stage.without] {
            furnish(root, &program).map_err(failed)?;
        }
        let secret = stage.base.join("leaked");
        fs::write(&secret, stage.secret()).map_err(failed)?;
        // Without the flag that keeps it from children.
        let leaked = open(&secret, OFlags::RDONLY, Mode::empty());
        stage.leaked = Some(leaked.map_err(|errno| failed(errno.into()))?);
        Ok(stage)
    }

    pub(super) fn inside(&self) -> &Path {
        &self.inside
    }

    pub(super) fn without(&self) -> &Path {
        &self.without
    }

    fn secret(&self) -> String {
        format!("agentx-probe-secret-{:032x}", self.random)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What can't be removed lies in the temporary directory.
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// What a root holds when the isolation begins.
fn furnish(root: &Path, program: &[u8]) -> io::Result<()> {
    fs::create_dir_all(root.join(".git/hooks"))?;
    for (path, text) in
        [(".bashrc", "# rc\n"), (".git/hooks/pre-commit", "# hook\n"), (".git/config", "# config\n")]
    {
        fs::write(root.join(path), text)?;
    }
    let path = root.join(PROGRAM);
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
}

/// A directory for temporary files that the isolation does not give to commands.
fn base(isolation: &Isolation) -> Result<PathBuf> {
    let candidates = [env::temp_dir(), "/var/tmp".into(), "/tmp".into(), "/dev/shm".into()];
    let is_given = |base: &Path| isolation.places().any(|place| base.starts_with(place));
    let found =
        candidates.into_iter().filter_map(|base| base.canonicalize().ok()).find(|base| !is_given(base));
    found.ok_or_else(|| {
        error(ErrorKind::Unsupported, "probe")
            .with_message("every directory for temporary files is given to the commands")
    })
}

impl Witness {
    pub(super) async fn start(stage: &Stage, program: &Program) -> Result<Self> {
        let name = format!("agentx-probe-{:016x}", stage.random >> 64);
        let outside = stage.base.join(OUTSIDE);
        let secret = stage.secret();
        let process = LocalProcess::new(&stage.base)?.with_program(program.clone());
        let request = ExecRequest::program(stage.without.join(PROGRAM).to_string_lossy(), ["witness"])
            .with_cwd(ResourcePath::new(format!("/{OUTSIDE}"))?)
            .with_env("AGENTX_PROBE_SECRET", &secret)
            .with_env("AGENTX_PROBE_NAME", &name)
            .with_stdin(Stdin::Piped);
        let child = process.spawn(request).await?;
        let mut told = Vec::new();
        while !told.ends_with(b"\n") && told.len() < MAX_WORDS {
            match child.next_event().await? {
                Some(ExecEvent::Stdout(bytes)) => told.extend_from_slice(&bytes),
                Some(ExecEvent::Stderr(bytes)) => {
                    let message = String::from_utf8_lossy(&bytes).trim().to_owned();
                    return Err(error(ErrorKind::Unavailable, "probe").with_message(message));
                }
                Some(_) => {}
                None => {
                    let message = "the witness does not say where it is";
                    return Err(error(ErrorKind::Unavailable, "probe").with_message(message));
                }
            }
        }
        let told = String::from_utf8_lossy(&told);
        let mut words: Vec<_> = told.split_ascii_whitespace().map(str::to_owned).collect();
        words.push(format!("outside={}", outside.display()));
        words.push(format!("name={name}"));
        Ok(Self { words, secret, _child: child })
    }

    /// What the attempts are told.
    pub(super) fn words(&self) -> impl Iterator<Item = String> + '_ {
        self.words.iter().cloned()
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}
