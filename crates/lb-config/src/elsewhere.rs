//! Reads a configuration that is for another machine.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::ScriptOwner;
use crate::system::{FileStatus, RealSystem, System};

/// This machine, with every interface there is a name for: to read what another machine will run.
#[derive(Clone, Copy, Debug)]
pub struct AnyInterface;

impl System for AnyInterface {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealSystem.read(path)
    }
    fn status(&self, path: &Path) -> io::Result<FileStatus> {
        RealSystem.status(path)
    }
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        RealSystem.resolve(path)
    }
    fn link_status(&self, path: &Path) -> io::Result<FileStatus> {
        RealSystem.link_status(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        RealSystem.read_link(path)
    }
    fn acl(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealSystem.acl(path)
    }
    fn beginning(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealSystem.beginning(path)
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        RealSystem.glob(pattern)
    }
    fn current_dir(&self) -> PathBuf {
        RealSystem.current_dir()
    }
    fn has_interface(&self, _: &str) -> bool {
        true
    }
    fn user(&self, name: &str) -> Option<ScriptOwner> {
        RealSystem.user(name)
    }
    fn group(&self, name: &str) -> Option<u32> {
        RealSystem.group(name)
    }
    fn own(&self) -> ScriptOwner {
        RealSystem.own()
    }
    fn host_name(&self) -> String {
        RealSystem.host_name()
    }
    fn variable(&self, name: &str) -> Option<String> {
        RealSystem.variable(name)
    }
    fn seed(&self) -> u64 {
        RealSystem.seed()
    }
}
