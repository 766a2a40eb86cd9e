//! Reads whatever bytes there are, with a second file to include: no panic, no hang, no end of memory.

#![no_main]

use std::path::Path;

use lb_config::{MemoryFile, MemorySystem, Options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (main, other) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    let owner = lb_config::model::ScriptOwner { uid: 0, gid: 0 };
    let file = |bytes: &[u8]| MemoryFile { bytes: bytes.to_vec(), mode: 0o644, owner };
    let mut system = MemorySystem::default().with_mode("/bin/true", "", 0o755);
    system.files.insert("/main".into(), file(main));
    system.files.insert("/other".into(), file(other));
    let options = Options { record_uses: true, ..Options::default() };
    let loaded = lb_config::load(Path::new("/main"), &options, &system);
    loaded.render(false);
    loaded.messages().count();
});
