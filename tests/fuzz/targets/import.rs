//! Reads whatever bytes there are as CARP of other systems: no panic, and what comes out is a configuration.

#![no_main]

use std::collections::HashMap;

use lb_config::{Dialect, MemorySystem, Options, import, parse_str};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let files = [("hostname.carp0".to_owned(), text)];
    let system = MemorySystem::default();
    for dialect in [Dialect::OpenBsd, Dialect::FreeBsd, Dialect::Ucarp] {
        let imported = import(dialect, &files, &HashMap::new());
        imported.render(false);
        let loaded = parse_str("result.conf", &imported.text, &Options::default(), &system);
        let unknown = loaded.diagnostics.iter().find(|found| found.id == "unknown-keyword");
        assert!(unknown.is_none(), "{}\n{}", imported.text, loaded.render(false));
    }
});
