//! The command line: keepalived's options under `getopt_long(3)`'s grammar, and ours.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::balancer::DataplaneChoice;
use crate::log::Facility;

/// What the command line says.
///
/// Every option of keepalived's command line is here; the ones whose function comes later are in
/// [`Args::later`].
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lbd",
    about = "Keeps virtual IPs alive (VRRP, CARP) and spreads their load over real servers",
    long_about = None,
    max_term_width = 80,
    disable_version_flag = true,
    disable_help_flag = true,
    args_override_self = true,
    infer_long_args = true,
    after_help = "Signals: HUP reloads, TERM and INT stop, USR1 and USR2 write keepalived.data and \
                  keepalived.stats to $TMPDIR or /tmp. See lbd(8)."
)]
pub struct Args {
    /// Configuration file, or a pattern of several
    #[arg(short = 'f', long = "use-file", value_name = "FILE", default_value = DEFAULT_CONFIG, help_heading = "Configuration")]
    pub config: PathBuf,
    /// Check the configuration and exit; append the diagnostics to FILE instead of stderr
    #[arg(short = 't', long, value_name = "FILE", num_args = 0..=1, require_equals = true, help_heading = "Configuration")]
    pub config_test: Option<Option<PathBuf>>,
    /// Refuse a configuration that draws warnings
    #[arg(long, help_heading = "Configuration")]
    pub strict: bool,
    /// Start although something that the configuration asks for is not built yet; may be repeated
    #[arg(long, value_name = "ID", help_heading = "Configuration")]
    pub allow: Vec<String>,
    /// Identity for the `@ID` lines of the configuration (default: the host name)
    #[arg(short = 'i', long, value_name = "ID", help_heading = "Configuration")]
    pub config_id: Option<String>,
    /// Every `include` must find readable files
    #[arg(short = 'e', long, help_heading = "Configuration")]
    pub all_config: bool,
    /// Write the configuration to the log at start
    #[arg(short = 'd', long, help_heading = "Configuration")]
    pub dump_conf: bool,

    /// Stay in the foreground
    #[arg(short = 'n', long, help_heading = "Process and log")]
    pub dont_fork: bool,
    /// Log to the console (stderr) too; in the foreground only
    #[arg(short = 'l', long, help_heading = "Process and log")]
    pub log_console: bool,
    /// Log details; twice for more
    #[arg(short = 'D', long, action = ArgAction::Count, help_heading = "Process and log")]
    pub log_detail: u8,
    /// Syslog facility: 0 to 7, local0 to local7, user or daemon
    #[arg(
        short = 'S',
        long,
        value_name = "FACILITY",
        default_value = "daemon",
        help_heading = "Process and log"
    )]
    pub log_facility: Facility,
    /// Log to FILE too
    #[arg(short = 'g', long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_LOG_FILE, help_heading = "Process and log")]
    pub log_file: Option<PathBuf>,
    /// Flush the log file after each record (always so)
    #[arg(long, help_heading = "Process and log")]
    pub flush_log_file: bool,
    /// Do not log to syslog
    #[arg(short = 'G', long, help_heading = "Process and log")]
    pub no_syslog: bool,

    /// Run VRRP only, no virtual servers
    #[arg(short = 'P', long, help_heading = "What runs")]
    pub vrrp: bool,
    /// Run virtual servers only, no VRRP
    #[arg(short = 'C', long, help_heading = "What runs")]
    pub check: bool,
    /// Run no BFD
    #[arg(short = 'B', long = "no_bfd", help_heading = "What runs")]
    pub no_bfd: bool,
    /// Run every engine, with or without configuration for it
    #[arg(long, help_heading = "What runs")]
    pub all: bool,
    /// What forwards: ipvs (the kernel), relay (this process), none (health checks alone), or auto
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "What runs"
    )]
    pub dataplane: DataplaneChoice,
    /// Remove addresses at a transition even if they were not recorded as set (always so)
    #[arg(short = 'X', long, help_heading = "What runs")]
    pub release_vips: bool,
    /// Leave the virtual addresses where they are at stop
    #[arg(short = 'V', long, help_heading = "What runs")]
    pub dont_release_vrrp: bool,
    /// Leave the IPVS entries where they are at stop
    #[arg(short = 'I', long, help_heading = "What runs")]
    pub dont_release_ipvs: bool,
    /// Take away what an lbd that was killed has left in the kernel, and exit; harmless while one runs
    #[arg(long, help_heading = "What runs")]
    pub cleanup: bool,
    /// Stop when an engine fails, instead of restarting it
    #[arg(short = 'R', long, help_heading = "What runs")]
    pub dont_respawn: bool,

    /// Control socket of `lbctl`
    #[arg(
        long,
        value_name = "PATH",
        env = "LBD_SOCKET",
        hide_env_values = true,
        help_heading = "Files and surroundings"
    )]
    pub socket: Option<PathBuf>,
    /// Directory of what outlives a restart, such as `lbctl maintenance on --persist`
    #[arg(long, value_name = "DIR", help_heading = "Files and surroundings")]
    pub state_dir: Option<PathBuf>,
    /// Write everything the advertiser is told to FILE, for `lbctl replay`
    #[arg(long, value_name = "FILE", help_heading = "Files and surroundings")]
    pub record: Option<PathBuf>,
    /// PID file
    #[arg(short = 'p', long, value_name = "FILE", help_heading = "Files and surroundings")]
    pub pid: Option<PathBuf>,
    /// PID file for what watches the VRRP process; holds the same number
    #[arg(
        short = 'r',
        long = "vrrp_pid",
        value_name = "FILE",
        help_heading = "Files and surroundings"
    )]
    pub vrrp_pid: Option<PathBuf>,
    /// PID file for what watches the checker process; holds the same number
    #[arg(
        short = 'c',
        long = "checkers_pid",
        value_name = "FILE",
        help_heading = "Files and surroundings"
    )]
    pub checkers_pid: Option<PathBuf>,
    /// PID file of the BFD process
    #[arg(
        short = 'b',
        long = "bfd_pid",
        value_name = "FILE",
        help_heading = "Accepted, without effect yet"
    )]
    pub bfd_pid: Option<PathBuf>,
    /// Run in this network namespace (ip-netns(8))
    #[arg(short = 's', long, value_name = "NAME", help_heading = "Files and surroundings")]
    pub namespace: Option<String>,
    /// File mode creation mask, octal
    #[arg(short = 'u', long, value_name = "MASK", value_parser = parse_umask, help_heading = "Files and surroundings")]
    pub umask: Option<u32>,
    /// Ignore SIGINT
    #[arg(long, help_heading = "Files and surroundings")]
    pub ignore_sigint: bool,
    /// Print the number of a signal: STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON or TDUMP
    #[arg(long, value_name = "NAME", help_heading = "About")]
    pub signum: Option<String>,

    /// Log address additions and removals in the checker
    #[arg(short = 'a', long, help_heading = "Accepted, without effect yet")]
    pub address_monitoring: bool,
    /// Enable SNMP
    #[arg(short = 'x', long, help_heading = "Accepted, without effect yet")]
    pub snmp: bool,
    /// AgentX socket
    #[arg(short = 'A', long, value_name = "SOCKET", help_heading = "Accepted, without effect yet")]
    pub snmp_agent_socket: Option<String>,
    /// Act as genhash (not supported yet); must be first
    #[arg(short = 'T', long, help_heading = "Accepted, without effect yet")]
    pub genhash: bool,
    /// Allow a core dump of any size
    #[arg(short = 'm', long, help_heading = "Files and surroundings")]
    pub core_dump: bool,
    /// As -m; the kernel's core_pattern is left alone
    #[arg(short = 'M', long, value_name = "PATTERN", num_args = 0..=1, require_equals = true, help_heading = "Accepted, without effect yet")]
    pub core_dump_pattern: Option<Option<String>>,
    /// Memory checks of keepalived's debug builds
    #[arg(long, help_heading = "Accepted, without effect yet")]
    pub no_mem_check: bool,
    /// Memory checks of keepalived's debug builds
    #[arg(short = 'L', long, help_heading = "Accepted, without effect yet")]
    pub mem_check_log: bool,
    /// Memory checks of keepalived's debug builds
    #[arg(short = 'O', long, help_heading = "Accepted, without effect yet")]
    pub openssl_mem_check: bool,
    /// Performance records
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, help_heading = "Accepted, without effect yet")]
    pub perf: Option<Option<String>>,
    /// Debug facilities
    #[arg(long, value_name = "FLAGS", num_args = 0..=1, require_equals = true, help_heading = "Accepted, without effect yet")]
    pub debug: Option<Option<String>>,
    /// Internal to keepalived
    #[arg(long, value_name = "N", hide = true)]
    pub config_fd: Option<String>,
    /// Set by `lbd` when it starts itself in the background.
    #[arg(long, hide = true)]
    pub detached: bool,
    /// The engine that SIGRTMAX makes fail; for tests.
    #[arg(long, value_name = "ENGINE", hide = true)]
    pub test_fault: Option<String>,

    /// Print the version
    #[arg(short = 'v', long, help_heading = "About")]
    pub version: bool,
    /// Print this text
    #[arg(short = 'h', long, action = ArgAction::HelpShort, help_heading = "About")]
    help: Option<bool>,

    /// Stray arguments; named and ignored, as keepalived does.
    #[arg(hide = true)]
    pub stray: Vec<OsString>,
}

/// Configuration unless `-f` names another.
pub const DEFAULT_CONFIG: &str = "/etc/keepalived/keepalived.conf";
/// State directory unless `--state-dir` names another; with a directory in it for each namespace.
const DEFAULT_STATE_DIR: &str = "/var/lib/lbd";
const DEFAULT_LOG_FILE: &str = "/tmp/keepalived.log";

impl ValueEnum for DataplaneChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Ipvs, Self::Relay, Self::None]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Auto => "auto",
            Self::Ipvs => "ipvs",
            Self::Relay => "relay",
            Self::None => "none",
        }))
    }
}

impl Args {
    /// Reads an argument vector, program name first, in the grammar of `getopt_long(3)`.
    ///
    /// # Errors
    /// An unknown option or a missing or wrong value; also the request for help, which clap treats
    /// as one.
    pub fn parse_from_os(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let args = canonical(&command, args);
        let mut matches = command.try_get_matches_from_mut(args)?;
        Self::from_arg_matches_mut(&mut matches)
    }

    /// Where what outlives a restart is kept.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let default = || match &self.namespace {
            Some(name) => Path::new(DEFAULT_STATE_DIR).join(name),
            None => PathBuf::from(DEFAULT_STATE_DIR),
        };
        self.state_dir.clone().unwrap_or_else(default)
    }

    /// One line for each option that was given and whose function comes later.
    #[must_use]
    pub fn later(&self) -> Vec<String> {
        let mem = "there is nothing to check: this program does not manage its memory by hand";
        let later = [
            (self.snmp, "-x (--snmp)", "SNMP is not supported yet"),
            (
                self.snmp_agent_socket.is_some(),
                "-A (--snmp-agent-socket)",
                "SNMP is not supported yet",
            ),
            (self.bfd_pid.is_some(), "-b (--bfd_pid)", "BFD is not supported yet"),
            (self.address_monitoring, "-a (--address-monitoring)", "not supported yet"),
            (
                matches!(self.core_dump_pattern, Some(Some(_))),
                "-M (--core-dump-pattern)",
                "core dumps are enabled, the kernel's core_pattern is left alone",
            ),
            (self.no_mem_check, "--no-mem-check", mem),
            (self.mem_check_log, "-L (--mem-check-log)", mem),
            (self.openssl_mem_check, "-O (--openssl-mem-check)", mem),
            (self.perf.is_some(), "--perf", "not supported yet; perf(1) can attach to the process"),
            (self.debug.is_some(), "--debug", "not supported yet; -D -D logs the most there is"),
            (self.config_fd.is_some(), "--config-fd", "internal to keepalived"),
            (self.genhash, "-T (--genhash)", "it must be the first argument"),
        ];
        later
            .into_iter()
            .filter(|(given, ..)| *given)
            .map(|(_, option, why)| format!("option {option} has no effect: {why}"))
            .collect()
    }
}

/// Rewrites `-nlD -tFILE -f FILE --use FILE` into the exact `--long=value` forms, by the table of
/// options that `command` itself is. What it does not know it leaves for clap to complain about.
fn canonical(command: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.next().into_iter().collect();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            out.push(arg);
            break;
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            out.push(canonical_long(command, long, &mut args).unwrap_or(arg));
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            canonical_cluster(command, &bytes[1..], &mut args, &mut out);
        } else {
            out.push(arg);
        }
    }
    out.extend(args);
    out
}

fn canonical_long(
    command: &Command,
    long: &[u8],
    rest: &mut impl Iterator<Item = OsString>,
) -> Option<OsString> {
    let long = std::str::from_utf8(long).ok()?;
    if long.contains('=') {
        return None; // clap knows this form, abbreviated or not
    }
    let longs = || command.get_arguments().filter_map(|a| a.get_long().map(|name| (name, a)));
    let mut abbreviated = longs().filter(|(name, _)| name.starts_with(long));
    let (name, option) = longs().find(|(name, _)| *name == long).or_else(|| {
        let first = abbreviated.next();
        if abbreviated.next().is_some() { None } else { first }
    })?;
    let value = if needs_value(option) { rest.next() } else { None };
    Some(long_option(name, value.as_deref()))
}

fn canonical_cluster(
    command: &Command,
    mut cluster: &[u8],
    rest: &mut impl Iterator<Item = OsString>,
    out: &mut Vec<OsString>,
) {
    while let Some((&short, tail)) = cluster.split_first() {
        let option = command.get_arguments().find(|a| a.get_short() == Some(char::from(short)));
        let Some((name, option)) = option.and_then(|a| Some((a.get_long()?, a))) else {
            out.push(OsString::from_vec([b"-", cluster].concat()));
            return;
        };
        let attached = (!tail.is_empty()).then(|| OsStr::from_bytes(tail).to_owned());
        if needs_value(option) {
            let value = attached.or_else(|| rest.next());
            return out.push(long_option(name, value.as_deref()));
        }
        if option.get_action().takes_values() {
            return out.push(long_option(name, attached.as_deref()));
        }
        out.push(long_option(name, None));
        cluster = tail;
    }
}

fn needs_value(option: &Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}

fn long_option(name: &str, value: Option<&OsStr>) -> OsString {
    let mut option = OsString::from(format!("--{name}"));
    if let Some(value) = value {
        option.push("=");
        option.push(value);
    }
    option
}

/// keepalived takes C numbers: octal with a leading zero, hexadecimal with `0x`.
fn parse_umask(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None if text.starts_with('0') => u32::from_str_radix(text, 8),
        None => text.parse(),
    };
    parsed
        .ok()
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| format!("`{text}` is not a umask; write it like 0177"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::parse_from_os(
            std::iter::once("lbd").chain(line.split_whitespace()).map(OsString::from),
        )
    }

    #[test]
    fn short_options_cluster_and_take_attached_values() {
        let args = parse("-nlD -D -ffile -p /run/x.pid -Slocal3").unwrap();
        assert!(args.dont_fork && args.log_console);
        assert_eq!(args.log_detail, 2);
        assert_eq!(args.config, PathBuf::from("file"));
        assert_eq!(args.pid, Some(PathBuf::from("/run/x.pid")));
    }

    #[test]
    fn an_optional_value_must_be_attached() {
        assert_eq!(parse("-t").unwrap().config_test, Some(None));
        assert_eq!(parse("-tout").unwrap().config_test, Some(Some("out".into())));
        assert_eq!(parse("--config-test=out").unwrap().config_test, Some(Some("out".into())));
        let args = parse("-t out -M").unwrap();
        assert_eq!(args.config_test, Some(None));
        assert_eq!(args.stray, ["out"]);
        assert_eq!(args.core_dump_pattern, Some(None));
        assert_eq!(parse("-g").unwrap().log_file, Some(DEFAULT_LOG_FILE.into()));
        assert_eq!(parse("-ntx").unwrap().config_test, Some(Some("x".into())));
    }

    #[test]
    fn long_options_take_their_value_either_way_and_may_be_abbreviated() {
        for line in ["--use-file f", "--use-file=f", "--use f", "-f f", "-ff"] {
            assert_eq!(parse(line).unwrap().config, PathBuf::from("f"), "{line}");
        }
        assert_eq!(parse("-f -odd").unwrap().config, PathBuf::from("-odd"));
        assert!(parse("--log-console --log-det").is_ok());
        assert!(parse("--log").is_err(), "ambiguous");
    }

    #[test]
    fn everything_keepalived_takes_is_taken() {
        let shorts = "-P -C -B -l -D -S 1 -g -G -u 022 -X -V -I -R -n -d -p a -r b -c d -b e -T -a -x \
                      -A s -s ns -m -M -L -O -e -i id -t -f file";
        parse(shorts).unwrap();
        let longs = "--use-file=x --vrrp --check --no_bfd --all --log-console --log-detail \
                     --log-facility=user --log-file=x --flush-log-file --no-syslog --umask=022 \
                     --release-vips --dont-release-vrrp --dont-release-ipvs --dont-respawn --dont-fork \
                     --dump-conf --pid=x --vrrp_pid=x --checkers_pid=x --bfd_pid=x --genhash \
                     --address-monitoring --snmp --snmp-agent-socket=x --namespace=x --core-dump \
                     --core-dump-pattern=x --no-mem-check --mem-check-log --openssl-mem-check \
                     --all-config --config-id=x --signum=STOP --config-test=x --config-fd=3 \
                     --ignore-sigint --perf=all --debug=X --version";
        let args = parse(longs).unwrap();
        assert_eq!(args.later().len(), 12);
        parse("--perf --debug --config-test --log-file").unwrap();
    }

    #[test]
    fn what_nobody_knows_and_a_missing_value_are_errors() {
        for line in
            ["-Z", "-nZ", "--nonsense", "-f", "--pid", "-S local9", "-u 9z", "--dataplane=x"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn each_namespace_has_its_own_state() {
        assert_eq!(parse("").unwrap().state_dir(), PathBuf::from("/var/lib/lbd"));
        assert_eq!(parse("-s blue").unwrap().state_dir(), PathBuf::from("/var/lib/lbd/blue"));
        assert_eq!(parse("-s blue --state-dir d").unwrap().state_dir(), PathBuf::from("d"));
    }

    #[test]
    fn a_umask_is_a_c_number() {
        assert_eq!(parse_umask("0177"), Ok(0o177));
        assert_eq!(parse_umask("18"), Ok(18));
        assert_eq!(parse_umask("0x12"), Ok(0x12));
        assert!(parse_umask("01777").is_err());
    }

    #[test]
    fn the_table_of_options_is_sound() {
        Args::command().debug_assert();
    }
}
