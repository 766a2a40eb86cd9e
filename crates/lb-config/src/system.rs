//! What a configuration asks of the machine it is read on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::acl;
use crate::model::ScriptOwner;

/// Kind, mode and owner of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// An ordinary file.
    pub is_file: bool,
    /// A directory.
    pub is_dir: bool,
    /// A symbolic link.
    pub is_link: bool,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Bytes of the largest file that is read.
pub(crate) const LARGEST: usize = 256 * 1024 * 1024;

/// Length of the beginning of a file that says how it is run, bytes. `execve(2)`.
const BEGINNING: usize = 256;

/// The machine, as far as reading a configuration needs it.
pub trait System {
    /// Reads a whole file, which may have 256 MiB.
    ///
    /// # Errors
    /// As `read(2)`, and [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Kind, mode and owner; symbolic links are followed.
    ///
    /// # Errors
    /// As `stat(2)`.
    fn status(&self, path: &Path) -> io::Result<FileStatus>;

    /// The absolute path without symbolic links.
    ///
    /// # Errors
    /// As `realpath(3)`.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    /// Kind, mode and owner; of a symbolic link its own. Where there are no links, as [`Self::status`].
    ///
    /// # Errors
    /// As `lstat(2)`.
    fn link_status(&self, path: &Path) -> io::Result<FileStatus> {
        self.status(path)
    }

    /// Where a symbolic link points to.
    ///
    /// # Errors
    /// As `readlink(2)`.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let _ = path;
        Err(io::ErrorKind::InvalidInput.into())
    }

    /// The access control list of a file or directory as `system.posix_acl_access` holds it; empty
    /// where there is none. `acl(5)`.
    ///
    /// # Errors
    /// As `lgetxattr(2)`.
    fn acl(&self, path: &Path) -> io::Result<Vec<u8>> {
        let _ = path;
        Ok(Vec::new())
    }

    /// The first 256 bytes of a file, which is what the kernel looks at for `#!`.
    ///
    /// # Errors
    /// As `read(2)`.
    fn beginning(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path)?;
        bytes.truncate(BEGINNING);
        Ok(bytes)
    }

    /// Paths that match a pattern of `*`, `?` and `[]`, sorted. Braces mean nothing here.
    fn glob(&self, pattern: &str) -> Vec<PathBuf>;

    /// Where a relative path of the command line starts.
    fn current_dir(&self) -> PathBuf;

    /// Whether there is an interface of that name.
    fn has_interface(&self, name: &str) -> bool;

    /// User and first group of an account.
    fn user(&self, name: &str) -> Option<ScriptOwner>;

    /// A group.
    fn group(&self, name: &str) -> Option<u32>;

    /// Who the daemon runs as.
    fn own(&self) -> ScriptOwner;

    /// Whether a name or an address stands for a host; name servers may be asked.
    fn resolves(&self, host: &str) -> bool {
        (host, 25_u16).to_socket_addrs().is_ok_and(|mut found| found.next().is_some())
    }

    /// Addresses with their prefix lengths, each after the name of its interface.
    fn addresses(&self) -> Vec<(String, (IpAddr, u8))> {
        Vec::new()
    }

    /// A setting of the kernel, as `net.ipv4.ip_forward`.
    fn sysctl(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// The node name.
    fn host_name(&self) -> String;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// Seed of `${_RANDOM}`.
    fn seed(&self) -> u64;
}

/// The machine this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealSystem;

impl System for RealSystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        if length > LARGEST as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // It may grow meanwhile, or be one that does not know its length.
        let mut bytes = Vec::with_capacity(length as usize + 1);
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn status(&self, path: &Path) -> io::Result<FileStatus> {
        std::fs::metadata(path).map(|found| file_status(&found))
    }

    fn link_status(&self, path: &Path) -> io::Result<FileStatus> {
        std::fs::symlink_metadata(path).map(|found| file_status(&found))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn acl(&self, path: &Path) -> io::Result<Vec<u8>> {
        acl::read(path)
    }

    fn beginning(&self, path: &Path) -> io::Result<Vec<u8>> {
        // A pipe with nobody at its other end must not hold this up.
        let file =
            std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let mut bytes = Vec::with_capacity(BEGINNING);
        file.take(BEGINNING as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        glob::glob_with(pattern, options)
            .map(|paths| paths.filter_map(Result::ok).collect())
            .unwrap_or_default()
    }

    fn current_dir(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }

    fn has_interface(&self, name: &str) -> bool {
        nix::net::if_::if_nametoindex(name).is_ok()
    }

    fn user(&self, name: &str) -> Option<ScriptOwner> {
        let user = nix::unistd::User::from_name(name).ok()??;
        Some(ScriptOwner { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    fn group(&self, name: &str) -> Option<u32> {
        Some(nix::unistd::Group::from_name(name).ok()??.gid.as_raw())
    }

    fn own(&self) -> ScriptOwner {
        ScriptOwner { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }

    fn addresses(&self) -> Vec<(String, (IpAddr, u8))> {
        let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
        all.filter_map(|entry| {
            let (address, mask) = (entry.address?, entry.netmask?);
            let ip = |storage: &nix::sys::socket::SockaddrStorage| {
                let v4 = storage.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
                v4.or(storage.as_sockaddr_in6().map(|address| address.ip().into()))
            };
            let length = match ip(&mask)? {
                IpAddr::V4(mask) => u32::from(mask).count_ones(),
                IpAddr::V6(mask) => u128::from(mask).count_ones(),
            };
            Some((entry.interface_name, (ip(&address)?, length as u8)))
        })
        .collect()
    }

    fn sysctl(&self, name: &str) -> Option<String> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
    }

    fn host_name(&self) -> String {
        nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn seed(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

fn file_status(found: &std::fs::Metadata) -> FileStatus {
    FileStatus {
        is_file: found.is_file(),
        is_dir: found.is_dir(),
        is_link: found.is_symlink(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    }
}

/// A machine made up for tests: files in memory, and every interface there unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct MemorySystem {
    /// Files by absolute path.
    pub files: BTreeMap<PathBuf, MemoryFile>,
    /// Symbolic links and where they point to.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Mode and owner of directories; of those not named here 0755 and root.
    pub directories: BTreeMap<PathBuf, (u32, ScriptOwner)>,
    /// Access control lists, as the kernel keeps them.
    pub acls: BTreeMap<PathBuf, Vec<u8>>,
    /// Interfaces; `None`: every name is one.
    pub interfaces: Option<BTreeSet<String>>,
    /// Addresses of interfaces with their prefix lengths.
    pub addresses: Vec<(String, (IpAddr, u8))>,
    /// Accounts besides `root`.
    pub users: BTreeMap<String, ScriptOwner>,
    /// Groups besides `root`.
    pub groups: BTreeMap<String, u32>,
    /// Environment.
    pub variables: BTreeMap<String, String>,
    /// Node name.
    pub host_name: String,
    /// Seed of `${_RANDOM}`.
    pub seed: u64,
}

/// A file in memory.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: ScriptOwner,
}

impl MemorySystem {
    /// Adds a file of mode 0644 that belongs to root.
    #[must_use]
    pub fn with(self, path: &str, text: &str) -> Self {
        self.with_mode(path, text, 0o644)
    }

    /// Adds a file that belongs to root.
    #[must_use]
    pub fn with_mode(mut self, path: &str, text: &str, mode: u32) -> Self {
        let owner = ScriptOwner { uid: 0, gid: 0 };
        self.files.insert(
            PathBuf::from(path),
            MemoryFile { bytes: text.as_bytes().to_vec(), mode, owner },
        );
        self
    }

    /// Adds a symbolic link that belongs to root.
    #[must_use]
    pub fn with_link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(PathBuf::from(path), PathBuf::from(target));
        self
    }

    fn is_dir(&self, path: &Path) -> bool {
        let holds = |file: &PathBuf| file != path && file.starts_with(path);
        path == Path::new("/")
            || self.directories.contains_key(path)
            || self.files.keys().chain(self.links.keys()).any(holds)
    }

    /// The path without links, `.` and `..`.
    fn follow(&self, path: &Path, links: usize) -> io::Result<PathBuf> {
        let mut reached = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::ParentDir => drop(reached.pop()),
                Component::Normal(name) => reached.push(name),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            }
            if let Some(target) = self.links.get(&reached) {
                if links == 0 {
                    return Err(io::Error::from_raw_os_error(nix::libc::ELOOP));
                }
                let target = reached.parent().unwrap_or(Path::new("/")).join(target);
                reached = self.follow(&target, links - 1)?;
            }
        }
        Ok(reached)
    }
}

impl System for MemorySystem {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.files.get(path) {
            Some(file) if file.mode & 0o444 == 0 => Err(io::ErrorKind::PermissionDenied.into()),
            Some(file) => Ok(file.bytes.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn status(&self, path: &Path) -> io::Result<FileStatus> {
        self.link_status(&self.follow(path, 40)?)
    }

    fn link_status(&self, path: &Path) -> io::Result<FileStatus> {
        let status = |is_dir: bool, is_link: bool, mode, ScriptOwner { uid, gid }| FileStatus {
            is_file: !is_dir && !is_link,
            is_dir,
            is_link,
            mode,
            uid,
            gid,
        };
        let root = ScriptOwner { uid: 0, gid: 0 };
        if let Some(file) = self.files.get(path) {
            return Ok(status(false, false, file.mode, file.owner));
        }
        if self.links.contains_key(path) {
            return Ok(status(false, true, 0o777, root));
        }
        if self.is_dir(path) {
            let (mode, owner) = self.directories.get(path).copied().unwrap_or((0o755, root));
            return Ok(status(true, false, mode, owner));
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn acl(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.acls.get(path).cloned().unwrap_or_default())
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.links.get(path).cloned().ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let resolved = self.follow(path, 40)?;
        self.link_status(&resolved).map(|_| resolved)
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let Ok(pattern) = glob::Pattern::new(pattern) else { return Vec::new() };
        self.files.keys().filter(|path| pattern.matches_path(path)).cloned().collect()
    }

    fn current_dir(&self) -> PathBuf {
        PathBuf::from("/")
    }

    fn has_interface(&self, name: &str) -> bool {
        self.interfaces.as_ref().is_none_or(|interfaces| interfaces.contains(name))
    }

    fn user(&self, name: &str) -> Option<ScriptOwner> {
        let root = (name == "root").then_some(ScriptOwner { uid: 0, gid: 0 });
        root.or_else(|| self.users.get(name).copied())
    }

    fn group(&self, name: &str) -> Option<u32> {
        let root = (name == "root").then_some(0);
        root.or_else(|| self.groups.get(name).copied())
    }

    fn own(&self) -> ScriptOwner {
        ScriptOwner { uid: 0, gid: 0 }
    }

    fn addresses(&self) -> Vec<(String, (IpAddr, u8))> {
        self.addresses.clone()
    }

    fn resolves(&self, _: &str) -> bool {
        true
    }
    fn host_name(&self) -> String {
        self.host_name.clone()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn seed(&self) -> u64 {
        self.seed
    }
}
