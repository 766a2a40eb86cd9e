//! `keepalived_parent.data`: what concerns the whole process.

use lb_config::Model;
use lb_control::Status;

use super::json::quoted;
use super::page::begin;

/// The settings of the process, and its engines.
pub(super) fn parent(model: &Model, status: &Status) -> String {
    let mut page = begin(model);
    let global = &model.global;
    for (key, script) in
        [("Startup script", &global.startup_script), ("Shutdown script", &global.shutdown_script)]
    {
        if let Some((script, timeout)) = script {
            page.line(0, key, quoted(script));
            page.line(0, &format!("{key} timeout"), timeout.as_secs_f64());
        }
    }
    if let Some(wait) = global.child_wait_time {
        page.line(0, "Child wait time", wait.as_secs_f64());
    }
    page.section("Engines");
    for engine in &status.daemon.engines {
        page.line(0, "Engine", &engine.name);
        page.line(1, "Running", engine.running);
        page.line(1, "Failures", engine.failures);
        if let Some(reason) = &engine.reason {
            page.line(1, "Reason", reason);
        }
    }
    page.0
}
