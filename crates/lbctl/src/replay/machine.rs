//! The machine that a record is of, as far as reading its configuration needs it.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::bail;
use lb_config::model::ScriptOwner;
use lb_config::{FileStatus, Options, Severity, System};
use lb_node::Plan;

/// A machine that has whatever is asked for: every interface, account and script, and no file to
/// read. A record holds all that counts, and this machine must not change it.
struct Elsewhere;

const ROOT: ScriptOwner = ScriptOwner { uid: 0, gid: 0 };

impl System for Elsewhere {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn status(&self, _: &Path) -> io::Result<FileStatus> {
        Ok(FileStatus { is_file: true, is_dir: false, is_link: false, mode: 0o755, uid: 0, gid: 0 })
    }
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
    fn glob(&self, _: &str) -> Vec<PathBuf> {
        Vec::new()
    }
    fn current_dir(&self) -> PathBuf {
        PathBuf::from("/")
    }
    fn has_interface(&self, _: &str) -> bool {
        true
    }
    fn user(&self, _: &str) -> Option<ScriptOwner> {
        Some(ROOT)
    }
    fn group(&self, _: &str) -> Option<u32> {
        Some(0)
    }
    fn own(&self) -> ScriptOwner {
        ROOT
    }
    fn resolves(&self, _: &str) -> bool {
        true
    }
    fn host_name(&self) -> String {
        "recorded".to_owned()
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn seed(&self) -> u64 {
        0
    }
}

/// The plan that a configuration in a record makes.
///
/// # Errors
/// It is none: the first complaint.
pub fn plan(config: &str) -> anyhow::Result<Plan> {
    let options = Options { only_read: true, ..Options::default() };
    let loaded = lb_config::parse_str("record.toml", config, &options, &Elsewhere);
    match &loaded.model {
        Some(model) => Ok(model.into()),
        None => {
            let errors = || loaded.diagnostics.iter().zip(loaded.one_liners());
            let first = errors().find(|(diagnostic, _)| diagnostic.severity == Severity::Error);
            let first = first.map(|(_, line)| line).unwrap_or_default();
            bail!("the configuration cannot be used: {first}")
        }
    }
}
