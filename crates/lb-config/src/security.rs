//! Who but root could decide what root runs: the rule of `enable_script_security`.
//!
//! It looks at the path as it is written, at every directory and every symbolic link on the way to the
//! program, and at the interpreter that a script names after `#!`. Where this finds nothing, only root
//! can change any of it, so that the path may be executed afterwards without a race. It is asked at
//! every run, not only when the configuration is read: a directory can be given away meanwhile.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::acl;
use crate::model::ScriptOwner;
use crate::system::{FileStatus, System};

/// Symbolic links on the way to one program, as many as the kernel follows. `path_resolution(7)`.
const LINKS: usize = 40;
/// Scripts that interpret each other, as many as the kernel follows. `execve(2)`.
const INTERPRETERS: usize = 4;

/// Why what would run as root is not secure.
#[derive(Debug)]
pub enum Problem {
    /// Somebody else could change it: one clause that names the file or directory, and who.
    Insecure(String),
    /// Who could change it cannot be found out.
    Unknown {
        /// The file, directory or link.
        place: PathBuf,
        /// Why it cannot be looked at, as `lstat(2)`, `readlink(2)` and `open(2)`.
        source: io::Error,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insecure(problem) => f.write_str(problem),
            Self::Unknown { place, source } => {
                let place = place.display();
                write!(f, "who may change `{place}` cannot be found out: {source}")
            }
        }
    }
}

/// Checks that nobody but root could put another program in the place of one that runs as root, by
/// its user, its group, or the set-id bits of its file. What runs as somebody else passes unlooked-at.
///
/// # Errors
/// The first [`Problem`] on the way.
pub fn check(system: &dyn System, program: &Path, runs_as: ScriptOwner) -> Result<(), Problem> {
    let mut path = system.current_dir().join(program);
    if !is_root(system, &path, runs_as)? {
        return Ok(());
    }
    for _ in 0..=INTERPRETERS {
        let file = walk(system, &path)?;
        let beginning = system.beginning(&file).map_err(|error| unknown(&file, error))?;
        match interpreter(&beginning) {
            Some(interpreter) => path = system.current_dir().join(interpreter),
            None => return Ok(()),
        }
    }
    let path = path.display();
    Err(Problem::Insecure(format!("`{path}` is the interpreter of too many scripts in a row")))
}

/// The same without a look at interpreters.
pub(crate) fn check_directories(
    system: &dyn System,
    program: &Path,
    runs_as: ScriptOwner,
) -> Result<(), Problem> {
    if is_root(system, program, runs_as)? {
        walk(system, program)?;
    }
    Ok(())
}

/// Whether a program runs as root, or in root's group.
fn is_root(system: &dyn System, path: &Path, runs_as: ScriptOwner) -> Result<bool, Problem> {
    let file = system.status(path).map_err(|error| unknown(path, error))?;
    Ok(runs_as.uid == 0
        || runs_as.gid == 0
        || (file.mode & 0o4000 != 0 && file.uid == 0)
        || (file.mode & 0o2000 != 0 && file.gid == 0))
}

/// Checks every directory and link on the way to a file, and the file. Returns its path without links.
fn walk(system: &dyn System, path: &Path) -> Result<PathBuf, Problem> {
    let mut reached = PathBuf::from("/");
    let mut ahead: Vec<PathBuf> = parts(path);
    let mut links = 0;
    look_at(system, &reached)?;
    while let Some(part) = ahead.pop() {
        match part.components().next() {
            Some(Component::RootDir) => reached = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                reached.pop();
            }
            Some(Component::Normal(name)) => {
                let next = reached.join(name);
                if !look_at(system, &next)?.is_link {
                    reached = next;
                    continue;
                }
                links += 1;
                if links > LINKS {
                    let path = path.display();
                    return Err(Problem::Insecure(format!("`{path}` has too many symbolic links")));
                }
                let target = system.read_link(&next).map_err(|error| unknown(&next, error))?;
                ahead.extend(parts(&target));
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    Ok(reached)
}

/// The components of a path, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|component| PathBuf::from(component.as_os_str())).collect()
}

/// Checks that only root can change one file, directory or link.
fn look_at(system: &dyn System, place: &Path) -> Result<FileStatus, Problem> {
    let status = system.link_status(place).map_err(|error| unknown(place, error))?;
    let sticky_dir = status.is_dir && status.mode & 0o1000 != 0;
    let name = place.display();
    let insecure = |who: String| Err(Problem::Insecure(format!("it runs as root, but {who}")));
    if status.uid != 0 {
        return insecure(format!("`{name}` belongs to user {}", status.uid));
    }
    // A link has no permissions of its own: its directory decides.
    if status.is_link || sticky_dir {
        return Ok(status);
    }
    if status.mode & 0o002 != 0 {
        return insecure(format!("anyone may write `{name}`"));
    }
    if status.mode & 0o020 == 0 {
        return Ok(status);
    }
    if status.gid != 0 {
        return insecure(format!("group {} may write `{name}`", status.gid));
    }
    // With an access control list these bits are the most that it gives to anyone named in it.
    let acl = system.acl(place).map_err(|error| unknown(place, error))?;
    match acl::writer(&acl) {
        Some(writer) => insecure(format!("{writer} may write `{name}` by its access control list")),
        None => Ok(status),
    }
}

fn unknown(place: &Path, source: io::Error) -> Problem {
    Problem::Unknown { place: place.to_owned(), source }
}

/// The interpreter of a script, out of the beginning of its file. `execve(2)`.
fn interpreter(beginning: &[u8]) -> Option<PathBuf> {
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name =
        line.split(|byte| matches!(byte, b' ' | b'\t' | b'\0')).find(|word| !word.is_empty());
    name.map(|name| PathBuf::from(OsStr::from_bytes(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::MemorySystem;

    const ROOT: ScriptOwner = ScriptOwner { uid: 0, gid: 0 };
    const ALICE: ScriptOwner = ScriptOwner { uid: 1000, gid: 1000 };

    /// `/usr/lib/check` of root, and a home of alice with a link to it and a script of root's.
    fn machine() -> MemorySystem {
        let mut machine = MemorySystem::default()
            .with_mode("/usr/lib/check", "\x7fELF", 0o755)
            .with_mode("/home/alice/script", "#!/bin/sh\n", 0o755)
            .with_mode("/bin/sh", "\x7fELF", 0o755)
            .with_link("/etc/check", "../usr/lib/check")
            .with_link("/etc/far", "/home/alice/link")
            .with_link("/etc/loop", "loop")
            .with_link("/home/alice/link", "/usr/lib/check");
        machine.directories.insert("/home/alice".into(), (0o755, ALICE));
        machine.directories.insert("/tmp".into(), (0o1777, ROOT));
        machine.directories.insert("/pub".into(), (0o777, ROOT));
        machine
    }

    fn problem(machine: &MemorySystem, path: &str) -> String {
        let problem = check(machine, Path::new(path), ROOT).err();
        problem.map(|problem| problem.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_only_root_can_change_is_secure() {
        assert_eq!(problem(&machine(), "/usr/lib/check"), "");
        assert_eq!(problem(&machine(), "/etc/check"), "");
        assert_eq!(problem(&machine(), "/home/../etc/./check"), "");
    }

    #[test]
    fn a_link_in_the_directory_of_another_user_is_not() {
        let of_alice = "it runs as root, but `/home/alice` belongs to user 1000";
        assert_eq!(problem(&machine(), "/home/alice/link"), of_alice);
        assert_eq!(problem(&machine(), "/etc/far"), of_alice);
        assert_eq!(problem(&machine(), "/home/alice/../../usr/lib/check"), of_alice);
    }

    #[test]
    fn what_cannot_be_looked_at_is_not() {
        assert!(problem(&machine(), "/missing").contains("cannot be found out"));
        assert!(problem(&machine(), "/etc/loop").contains("cannot be found out"));
    }

    #[test]
    fn a_directory_that_anyone_may_write_is_secure_only_when_sticky() {
        let machine = machine()
            .with_mode("/tmp/check", "", 0o755)
            .with_mode("/pub/check", "", 0o755)
            .with_mode("/tmp/open", "", 0o757);
        assert_eq!(problem(&machine, "/tmp/check"), "");
        assert!(problem(&machine, "/pub/check").contains("anyone may write `/pub`"));
        assert!(problem(&machine, "/tmp/open").contains("anyone may write `/tmp/open`"));
    }

    #[test]
    fn who_may_write_by_an_access_control_list_is_found() {
        // user::rwx user:1000:rwx group::r-x mask::rwx other::r-x
        let list = |mask: u8| {
            let mut list = vec![2, 0, 0, 0];
            for (tag, allows, id) in [
                (0x01, 7, u32::MAX),
                (0x02, 7, 1000),
                (0x04, 5, u32::MAX),
                (0x10, mask, u32::MAX),
                (0x20, 5, u32::MAX),
            ] {
                list.extend([tag, 0, allows, 0]);
                list.extend(id.to_le_bytes());
            }
            list
        };
        let machine = |mode, mask| {
            let mut machine = machine().with_mode("/usr/lib/shared", "\x7fELF", mode);
            machine.acls.insert("/usr/lib/shared".into(), list(mask));
            machine
        };
        assert_eq!(
            problem(&machine(0o775, 7), "/usr/lib/shared"),
            "it runs as root, but user 1000 may write `/usr/lib/shared` by its access control list"
        );
        assert_eq!(problem(&machine(0o755, 5), "/usr/lib/shared"), "", "the mask forbids it");
        let group = machine(0o775, 7);
        assert_eq!(problem(&group, "/usr/lib/check"), "", "root's group may");
    }

    #[test]
    fn the_interpreter_of_a_script_counts() {
        let machine = machine()
            .with_mode("/usr/lib/good", "#! /bin/sh -e\n", 0o755)
            .with_mode("/usr/lib/bad", "#!/home/alice/script\n", 0o755)
            .with_mode("/usr/lib/again", "#!/usr/lib/again\n", 0o755);
        assert_eq!(problem(&machine, "/usr/lib/good"), "");
        assert!(problem(&machine, "/usr/lib/bad").contains("`/home/alice`"));
        assert!(problem(&machine, "/usr/lib/again").contains("too many"));
    }

    #[test]
    fn what_does_not_run_as_root_is_nobodys_way_to_become_root() {
        let alice = |machine: &MemorySystem, path| check(machine, Path::new(path), ALICE);
        assert!(alice(&machine(), "/home/alice/link").is_ok());
        let set_id = machine().with_mode("/home/alice/set-id", "", 0o4755);
        assert!(alice(&set_id, "/home/alice/set-id").is_err());
    }
}
