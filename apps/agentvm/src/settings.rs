//! What a server is told: by flags, by variables and by a file, in this order.

use std::{
    fmt::{self, Display},
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{ArgMatches, Args, ValueEnum, parser::ValueSource};
use serde::Deserialize;

use crate::{
    Failure,
    bounds::{Count, Limit, Processors, Size},
};

/// The file in the data directory that is read where none is named.
const FILE: &str = "config.toml";

/// The longest time that turns may have to end, in seconds.
const LONGEST_DRAIN: u32 = 3_600;

/// The tools of an agent.
const TOOLS: [&str; 7] = ["bash", "edit", "glob", "grep", "ls", "read", "write"];

/// Where everything is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// Where sessions, workspaces and hashes of keys are kept [default: ~/.agentvm].
    #[arg(long, env = "AVM_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// A TOML file with any of a server's flags by their long names [default: config.toml in the data directory].
    #[arg(long, env = "AVM_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// Where everything is, and what the file says.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) data: PathBuf,
    pub(crate) file: Settings,
    /// The file, where there is one.
    pub(crate) config: Option<PathBuf>,
}

impl Place {
    /// Reads the file, and says where the data directory is, which need not be there.
    pub(crate) fn find(&self) -> Result<Found, Failure> {
        if let Some(config) = &self.config {
            let file = read(config)?.ok_or_else(|| format!("{}: there is no such file", config.display()))?;
            let data = self.data_dir.clone().or_else(|| file.data_dir.clone());
            let data = data.map_or_else(home, Ok)?;
            return Ok(Found { data, file, config: Some(config.clone()) });
        }
        let data = self.data_dir.clone().map_or_else(home, Ok)?;
        let config = data.join(FILE);
        match read(&config)? {
            Some(file) if file.data_dir.is_some() => {
                Err(format!("{}: `data-dir` can't be set by a file in it", config.display()).into())
            }
            Some(file) => Ok(Found { data, file, config: Some(config) }),
            None => Ok(Found { data, file: Settings::default(), config: None }),
        }
    }
}

fn home() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(|home| PathBuf::from(home).join(".agentvm"))
        .ok_or_else(|| "--data-dir is needed: HOME is not set".into())
}

/// What a file says; none where there is none.
fn read(path: &Path) -> Result<Option<Settings>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    toml::from_str(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// How a server serves. What nobody said is none.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// The port; 0 takes a free one [default: 8080].
    #[arg(short, long, env = "AVM_PORT")]
    port: Option<u16>,
    /// The address to listen on, or `localhost`; any but this machine's own needs keys, see `avm key` [default: 127.0.0.1].
    #[arg(long, env = "AVM_HOST")]
    host: Option<Host>,
    /// The model to ask for; the provider's own choice by default.
    #[arg(long, env = "AVM_MODEL")]
    pub(crate) model: Option<String>,
    /// What runs a turn [default: light].
    #[arg(long, env = "AVM_DRIVER")]
    driver: Option<DriverKind>,
    /// The program of `--driver full` [default: claude, on the PATH].
    #[arg(long, env = "AVM_CLAUDE", value_name = "PROGRAM")]
    pub(crate) claude: Option<PathBuf>,
    /// Where the models may be that clients bring with keys of their own (`llm.create`) [default: public where there are
    /// keys, else any].
    #[arg(long, env = "AVM_LLM_ADDRESSES")]
    pub(crate) llm_addresses: Option<Addresses>,
    /// Asks a person before this tool runs, such as `bash`; may be given several times.
    #[arg(long, env = "AVM_ASK", value_delimiter = ',', value_name = "TOOL")]
    ask: Option<Vec<String>>,
    /// What holds the commands that agents run [default: full where there are keys, else none].
    #[arg(long, env = "AVM_ISOLATION")]
    pub(crate) isolation: Option<Held>,
    /// The memory that all commands of one owner may use together, such as 2g; `none` for no bound [default: a quarter of
    /// the machine's where owners share it].
    #[arg(long, env = "AVM_MEMORY", value_name = "SIZE")]
    pub(crate) memory: Option<Limit<Size>>,
    /// The processes and threads of all commands of one owner [default: 512 where owners share the machine].
    #[arg(long, env = "AVM_PROCESSES", value_name = "COUNT")]
    pub(crate) processes: Option<Limit<Count>>,
    /// The processors that all commands of one owner may use, such as 0.5 [default: all but one where owners share the
    /// machine].
    #[arg(long, env = "AVM_CPU", value_name = "PROCESSORS")]
    pub(crate) cpu: Option<Limit<Processors>>,
    /// What all workspaces of one owner may take of the disk [default: 10g where owners share the machine].
    #[arg(long, env = "AVM_DISK", value_name = "SIZE")]
    pub(crate) disk: Option<Limit<Size>>,
    /// The largest file that a command may write.
    #[arg(long, env = "AVM_FILE_SIZE", value_name = "SIZE")]
    pub(crate) file_size: Option<Limit<Size>>,
    /// The open files of each process of a command [default: 4096 where owners share the machine].
    #[arg(long, env = "AVM_OPEN_FILES", value_name = "COUNT")]
    pub(crate) open_files: Option<Limit<Count>>,
    /// The processor time of each process of a command, in seconds.
    #[arg(long, env = "AVM_CPU_TIME", value_name = "SECONDS")]
    pub(crate) cpu_time: Option<Limit<Count>>,
    /// The address space of each process of a command; many programs take far more of it than memory.
    #[arg(long, env = "AVM_ADDRESS_SPACE", value_name = "SIZE")]
    pub(crate) address_space: Option<Limit<Size>>,
    /// How long turns may take to end when the server stops or another takes its place, in seconds [default: 10].
    #[arg(long, env = "AVM_DRAIN", value_name = "SECONDS")]
    drain: Option<u32>,
    /// The keys of an issuer whose JSON Web Tokens open the server, too: a URL, or a file.
    #[arg(long, env = "AVM_JWKS", value_name = "URL|FILE")]
    pub(crate) jwks: Option<String>,
    /// The issuer of the tokens.
    #[arg(long, env = "AVM_JWT_ISSUER", value_name = "NAME")]
    pub(crate) jwt_issuer: Option<String>,
    /// The audience of the tokens.
    #[arg(long, env = "AVM_JWT_AUDIENCE", value_name = "NAME")]
    pub(crate) jwt_audience: Option<String>,
    /// In a file that is named by `--config`, beside the flag of this name.
    #[arg(skip)]
    data_dir: Option<PathBuf>,
}

/// An address to listen on. `localhost` is 127.0.0.1: whoever asks for that name tries it, whatever else the name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Host(IpAddr);

impl FromStr for Host {
    type Err = String;

    fn from_str(host: &str) -> Result<Self, String> {
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(Self(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        host.parse().map(Self).map_err(|_| format!("{host:?} is neither an address nor `localhost`"))
    }
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(host: String) -> Result<Self, String> {
        host.parse()
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where models may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Addresses {
    /// At addresses of the public internet, by TLS: neither this machine, nor its network, nor its cloud's metadata.
    Public,
    /// Anywhere.
    Any,
}

/// What runs a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DriverKind {
    /// The server itself, which asks the model's API.
    #[default]
    Light,
    /// The claude CLI, one process for each conversation that is at work.
    Full,
}

/// What holds commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Held {
    /// Nothing: they may do what the server's user may do.
    None,
    /// Landlock, seccomp and namespaces: they see their workspace, and no network.
    Full,
}

impl Settings {
    /// These, and those of a file where these say nothing.
    pub(crate) fn or(self, file: Self) -> Result<Self, Failure> {
        let merged = Self {
            port: self.port.or(file.port),
            host: self.host.or(file.host),
            model: self.model.or(file.model),
            driver: self.driver.or(file.driver),
            claude: self.claude.or(file.claude),
            llm_addresses: self.llm_addresses.or(file.llm_addresses),
            ask: self.ask.or(file.ask),
            isolation: self.isolation.or(file.isolation),
            memory: self.memory.or(file.memory),
            processes: self.processes.or(file.processes),
            cpu: self.cpu.or(file.cpu),
            disk: self.disk.or(file.disk),
            file_size: self.file_size.or(file.file_size),
            open_files: self.open_files.or(file.open_files),
            cpu_time: self.cpu_time.or(file.cpu_time),
            address_space: self.address_space.or(file.address_space),
            drain: self.drain.or(file.drain),
            jwks: self.jwks.or(file.jwks),
            jwt_issuer: self.jwt_issuer.or(file.jwt_issuer),
            jwt_audience: self.jwt_audience.or(file.jwt_audience),
            data_dir: None,
        };
        if let Some(unknown) = merged.ask().find(|tool| !TOOLS.contains(tool)) {
            let tools = TOOLS.join(", ");
            return Err(format!("--ask {unknown}: there is no such tool; there are {tools}").into());
        }
        match merged.drain {
            Some(seconds) if seconds > LONGEST_DRAIN => {
                Err(format!("--drain {seconds}: at most {LONGEST_DRAIN} seconds").into())
            }
            _ => Ok(merged),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(8080)
    }

    pub(crate) fn host(&self) -> IpAddr {
        self.host.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Host(address)| address)
    }

    pub(crate) fn driver(&self) -> DriverKind {
        self.driver.unwrap_or_default()
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain.unwrap_or(10).into())
    }

    /// The tools that a person is asked for.
    pub(crate) fn ask(&self) -> impl Iterator<Item = &str> {
        self.ask.iter().flatten().map(String::as_str)
    }

    /// Each setting that somebody made, and who: these are what flags and variables say, before a file is asked.
    pub(crate) fn told(&self, file: &Self, matches: &ArgMatches) -> Vec<String> {
        let (ours, theirs) = (self.rows(), file.rows());
        let rows = ours.into_iter().zip(theirs).filter_map(|((name, ours), (_, theirs))| {
            let value = ours.or(theirs)?;
            let from = match matches.value_source(name) {
                Some(ValueSource::CommandLine) => "flag".to_owned(),
                Some(ValueSource::EnvVariable) => format!("AVM_{}", name.to_uppercase()),
                _ => "file".to_owned(),
            };
            Some(format!("{name} = {value}  ({from})"))
        });
        rows.collect()
    }

    fn rows(&self) -> [(&'static str, Option<String>); 20] {
        fn text(value: Option<&impl Display>) -> Option<String> {
            value.map(ToString::to_string)
        }
        fn name(value: Option<&impl ValueEnum>) -> Option<String> {
            Some(value?.to_possible_value()?.get_name().to_owned())
        }
        [
            ("port", text(self.port.as_ref())),
            ("host", text(self.host.as_ref())),
            ("model", text(self.model.as_ref())),
            ("driver", name(self.driver.as_ref())),
            ("claude", text(self.claude.as_ref().map(|path| path.display()).as_ref())),
            ("llm_addresses", name(self.llm_addresses.as_ref())),
            ("ask", self.ask.as_ref().map(|tools| tools.join(","))),
            ("isolation", name(self.isolation.as_ref())),
            ("memory", text(self.memory.as_ref())),
            ("processes", text(self.processes.as_ref())),
            ("cpu", text(self.cpu.as_ref())),
            ("disk", text(self.disk.as_ref())),
            ("file_size", text(self.file_size.as_ref())),
            ("open_files", text(self.open_files.as_ref())),
            ("cpu_time", text(self.cpu_time.as_ref())),
            ("address_space", text(self.address_space.as_ref())),
            ("drain", text(self.drain.as_ref())),
            ("jwks", self.jwks.clone()),
            ("jwt_issuer", self.jwt_issuer.clone()),
            ("jwt_audience", self.jwt_audience.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(data_dir: Option<&Path>, config: Option<PathBuf>) -> Place {
        Place { data_dir: data_dir.map(Path::to_owned), config }
    }

    #[test]
    fn what_a_file_says_holds_where_nobody_says_otherwise() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join(FILE);
        let text =
            "port = 1\nisolation = \"none\"\nask = [\"bash\"]\nmemory = \"2g\"\ncpu = 0.5\ndisk = \"none\"\n";
        fs::write(&file, text).unwrap();
        let found = place(Some(data.path()), None).find().unwrap();
        assert_eq!(found.config, Some(file));
        let flags = Settings { port: Some(2), ..Settings::default() };
        let merged = flags.or(found.file).unwrap();
        assert_eq!((merged.port(), merged.isolation), (2, Some(Held::None)));
        assert_eq!(merged.ask().collect::<Vec<_>>(), ["bash"]);
        assert_eq!(merged.memory, Some(Limit::Of(Size(2 << 30))));
        assert_eq!((merged.cpu, merged.disk), (Some(Limit::Of(Processors(500))), Some(Limit::None)));
        assert_eq!(merged.processes, None);
        assert_eq!((merged.host(), merged.driver()), (IpAddr::V4(Ipv4Addr::LOCALHOST), DriverKind::Light));
    }

    #[test]
    fn a_file_that_says_what_nobody_understands_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let told = |text: &str| {
            fs::write(data.path().join(FILE), text).unwrap();
            let found = place(Some(data.path()), None).find();
            found.and_then(|found| Settings::default().or(found.file)).unwrap_err().to_string()
        };
        assert!(told("prot = 80").contains("unknown field `prot`"));
        assert!(told("port = \"80\"").contains("port"));
        assert!(told("driver = \"heavy\"").contains("heavy"));
        assert!(told("host = \"example.org\"").contains("neither an address nor `localhost`"));
        assert!(told("ask = [\"bsh\"]").contains("no such tool"));
        assert!(told("memory = \"much\"").contains("`much` is no size"));
        assert!(told("processes = 0").contains("no number of at least 1"));
        assert!(told("data-dir = \"/tmp\"").contains("can't be set by a file in it"));
    }

    #[test]
    fn a_host_is_an_address_or_this_machine() {
        for (host, address) in
            [("localhost", "127.0.0.1"), ("LocalHost", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "0.0.0.0")]
        {
            let settings = Settings { host: Some(host.parse().unwrap()), ..Settings::default() };
            assert_eq!(settings.host(), address.parse::<IpAddr>().unwrap(), "{host}");
        }
        for host in ["", "localhost.", "example.org", "127.0.0.1:80", "[::1]", "::1%lo"] {
            assert!(host.parse::<Host>().is_err(), "{host}");
        }
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(FILE), "host = \"localhost\"").unwrap();
        let file = place(Some(data.path()), None).find().unwrap().file;
        assert_eq!(file.host(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn a_named_file_says_where_the_data_is_and_must_be_there() {
        let place_of = tempfile::tempdir().unwrap();
        let file = place_of.path().join("avm.toml");
        let missing = place(None, Some(file.clone())).find().unwrap_err().to_string();
        assert!(missing.contains("no such file"), "{missing}");
        fs::write(&file, "data-dir = \"/var/lib/agentvm\"").unwrap();
        assert_eq!(place(None, Some(file.clone())).find().unwrap().data, Path::new("/var/lib/agentvm"));
        let flag = place(Some(Path::new("/elsewhere")), Some(file)).find().unwrap();
        assert_eq!(flag.data, Path::new("/elsewhere"));
    }
}
