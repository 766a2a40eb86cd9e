//! Real files, by the real system.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lb_config::{Loaded, MemorySystem, Options, RealSystem, load};

fn read(path: &Path) -> Loaded {
    load(path, &Options::default(), &RealSystem)
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn files_and_patterns_are_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    write(&dir.path().join("main.conf"), "global_defs {\n  router_id $NAME\n}\n", 0o644);
    write(&dir.path().join("conf.d/1.conf"), "$NAME=first\n", 0o600);
    write(&dir.path().join("conf.d/2.conf"), "$NAME=second\ninclude ../main.conf\n", 0o644);
    let loaded = read(&dir.path().join("conf.d/*.conf"));
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.render(false));
    assert_eq!(loaded.model.unwrap().global.router_id.as_deref(), Some("second"));
    assert_eq!(loaded.sources.len(), 3);
}

#[test]
fn what_is_no_readable_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    write(&script, "", 0o755);
    for (path, text) in [
        (dir.path(), "is a directory"),
        (script.as_path(), "is executable"),
        (Path::new("/dev/null"), "is not an ordinary file"),
        (&dir.path().join("none"), "does not exist"),
        (&dir.path().join("*.none"), "no file matches"),
    ] {
        let loaded = read(path);
        assert!(loaded.is_refused());
        assert!(loaded.render(false).contains(text), "{}", loaded.render(false));
        assert_eq!(loaded.diagnostics.exit_code_of_refusal(), 6);
    }
    // keepalived's own judgement of a file that is missing, without and with `-e`.
    let none = dir.path().join("none");
    assert_eq!(read(&none).diagnostics.exit_code_of_check(), 0);
    let options = Options { all_include_checks: true, ..Options::default() };
    assert_eq!(load(&none, &options, &RealSystem).diagnostics.exit_code_of_check(), 6);
}

#[test]
fn a_file_without_permission_is_said() {
    let system =
        MemorySystem::default().with_mode("/secret", "", 0o000).with("/main", "include /secret\n");
    for main in ["/secret", "/main"] {
        let loaded = load(Path::new(main), &Options::default(), &system);
        let said = loaded.render(false);
        assert!(said.contains("`/secret` cannot be read: permission denied"), "{said}");
    }
    assert!(load(Path::new("/secret"), &Options::default(), &system).is_refused());
}

#[test]
fn a_file_without_end_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.conf");
    // Sparse: two gigabytes of one line that take no room on the disk.
    std::fs::File::create(&path).unwrap().set_len(2 << 30).unwrap();
    let include = dir.path().join("main.conf");
    write(&include, &format!("include {}\nglobal_defs {{\n}}\n", path.display()), 0o644);
    for main in [&path, &include] {
        let loaded = read(main);
        let said = loaded.render(false);
        assert!(said.contains("cannot be read: file too large"), "{said}");
    }
    assert!(read(&path).is_refused());
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("latin1.conf");
    std::fs::write(&path, b"# caf\xe9\nglobal_defs {\n router_id caf\xe9\n}\n").unwrap();
    assert_eq!(read(&path).model.unwrap().global.router_id.as_deref(), Some("caf\u{fffd}"));
}

#[test]
fn the_machine_knows_its_loopback_and_root() {
    use lb_config::System;
    assert!(RealSystem.has_interface("lo"));
    assert!(!RealSystem.has_interface("no-such-link"));
    assert_eq!(RealSystem.user("root").unwrap().uid, 0);
    assert!(RealSystem.user("no such user").is_none());
}
