//! Access control lists of files: who besides owner, group and everybody else may write. `acl(5)`.
//!
//! Unsafe for `lgetxattr(2)`, which nix does not wrap.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// The attribute that holds the list. `xattr(7)`.
const NAME: &std::ffi::CStr = c"system.posix_acl_access";
/// Bytes of the longest value of an attribute. `xattr(7)`.
const LONGEST: usize = 65_536;

/// Version of the list. `linux/posix_acl_xattr.h`.
const VERSION: u32 = 2;
/// Tags of entries that name somebody. `linux/posix_acl.h`.
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
const WRITE: u16 = 0x02;

/// The list of a file or directory, not of what a symbolic link points to; empty where there is none.
///
/// # Errors
/// As `lgetxattr(2)`.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut value = vec![0; LONGEST];
    // SAFETY: both strings end with 0, and the kernel writes at most as many bytes as the buffer has.
    let length = unsafe {
        libc::lgetxattr(path.as_ptr(), NAME.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    match usize::try_from(length) {
        Ok(length) => {
            value.truncate(length);
            Ok(value)
        }
        Err(_) => match io::Error::last_os_error() {
            // It has no list, or its file system knows none.
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
                Ok(Vec::new())
            }
            error => Err(error),
        },
    }
}

/// The first one besides root whom a list lets write, if its mask allows writing. A list of another
/// version may let anybody.
pub(crate) fn writer(list: &[u8]) -> Option<String> {
    let (version, mut entries) = list.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION {
        return Some("somebody".to_owned());
    }
    while let Some((&[tag, tag_high, allows, allows_high, id @ ..], rest)) =
        entries.split_first_chunk::<8>()
    {
        entries = rest;
        let tag = u16::from_le_bytes([tag, tag_high]);
        let id = u32::from_le_bytes(id);
        if u16::from_le_bytes([allows, allows_high]) & WRITE == 0 || id == 0 {
            continue;
        }
        match tag {
            USER => return Some(format!("user {id}")),
            GROUP => return Some(format!("group {id}")),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use nix::errno::Errno;

    use super::*;

    /// A list as `setfacl` writes it.
    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let entry = |(tag, allows, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &allows.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        [&VERSION.to_le_bytes()[..], &entries.iter().flat_map(entry).collect::<Vec<_>>()].concat()
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn who_is_named_and_may_write_is_found() {
        let base = [(0x01, 7, NOBODY), (0x04, 7, NOBODY), (0x10, 7, NOBODY), (0x20, 5, NOBODY)];
        assert_eq!(writer(&[]), None);
        assert_eq!(writer(&list(&base)), None);
        let with = |entry| writer(&list(&[&base[..], &[entry]].concat()));
        assert_eq!(with((USER, 5, 1000)), None);
        assert_eq!(with((USER, 7, 0)), None);
        assert_eq!(with((USER, 6, 1000)).as_deref(), Some("user 1000"));
        assert_eq!(with((GROUP, 2, 100)).as_deref(), Some("group 100"));
        assert_eq!(writer(&[3, 0, 0, 0]).as_deref(), Some("somebody"));
        // Cut anywhere it gives no wrong name.
        let whole = list(&[(USER, 6, 1000)]);
        assert!((0..whole.len()).all(|length| writer(&whole[..length]).is_none()));
    }

    #[test]
    fn the_list_of_a_file_is_read_and_shows_in_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(read(&file).unwrap(), []);
        let wanted = list(&[
            (0x01, 7, NOBODY),
            (USER, 7, 1000),
            (0x04, 5, NOBODY),
            (0x10, 7, NOBODY),
            (0x20, 5, NOBODY),
        ]);
        let path = CString::new(file.as_os_str().as_bytes()).unwrap();
        // SAFETY: both strings end with 0, and the value is as long as said.
        let set = unsafe {
            libc::setxattr(path.as_ptr(), NAME.as_ptr(), wanted.as_ptr().cast(), wanted.len(), 0)
        };
        if Errno::result(set) == Err(Errno::EOPNOTSUPP) {
            lb_skip::skip(format_args!("the file system of {} has no lists", file.display()));
            return;
        }
        assert_eq!(set, 0);
        assert_eq!(writer(&read(&file).unwrap()).as_deref(), Some("user 1000"));
        // The bits of the group are the mask now: what nobody may write by them, nobody may by the list.
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o775);
        assert!(read(&dir.path().join("missing")).is_err());
    }
}
