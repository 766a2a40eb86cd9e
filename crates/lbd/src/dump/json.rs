//! `keepalived.json`: state and counters of every instance, keys as keepalived's version 1.

use lb_config::Model;
use lb_config::model::{
    Lifetime, Notify, Script, Tracked, VirtualAddress, VrrpInstance, VrrpVersion,
};
use lb_control::State;
use lb_control::Status;
use lb_control::status::{Vrrp, VrrpCounters};
use serde_json::{Map, Value, json};

/// An array with one object an instance.
#[must_use]
pub fn json(model: &Model, status: &Status) -> String {
    let instances: Vec<Value> = status
        .vrrp
        .iter()
        .filter_map(|state| {
            let config = model.vrrp_instances.iter().find(|i| i.router.name == state.name)?;
            Some(json!({ "data": data(config, state, model), "stats": stats(&state.counters) }))
        })
        .collect();
    Value::Array(instances).to_string()
}

fn data(config: &VrrpInstance, state: &Vrrp, model: &Model) -> Value {
    let master = state.state == State::Master;
    let vmac = state.vmac.as_deref();
    let interface = config.router.interface.as_deref().unwrap_or_default();
    let mut data = json!({
        "iname": config.router.name,
        "dont_track_primary": u8::from(config.router.dont_track_primary),
        "skip_check_adv_addr": u8::from(config.skip_check_adv_addr),
        "strict_mode": u8::from(config.strict),
        "vmac_ifname": vmac.unwrap_or_default(),
        "ifp_ifname": vmac.unwrap_or(interface),
        "master_priority": match &state.master {
            Some(heard) if !master => heard.priority,
            _ => 0,
        },
        "last_transition": state.since.as_microsecond() as f64 / 1e6,
        "garp_delay": seconds(config.router.garp.delay.as_secs_f64()),
        "garp_refresh": config.router.garp.refresh.as_secs(),
        "garp_rep": config.router.garp.repeat,
        "garp_refresh_rep": config.router.garp.refresh_repeat,
        "garp_lower_prio_delay": seconds(config.router.garp.lower_prio_delay.as_secs_f64()),
        "garp_lower_prio_rep": config.router.garp.lower_prio_repeat,
        "lower_prio_no_advert": u8::from(config.lower_prio_no_advert),
        "higher_prio_send_advert": u8::from(config.higher_prio_send_advert),
        "vrid": config.vrid,
        "base_priority": config.priority,
        "effective_priority": state.effective_priority,
        "vipset": master,
        "promote_secondaries": config.router.promote_secondaries && vmac.is_none(),
        "adver_int": seconds(config.advert_int.as_secs_f64()),
        "master_adver_int": seconds(state.master_interval),
        "accept": u8::from(config.accept),
        "nopreempt": config.nopreempt,
        "preempt_delay": seconds(config.preempt_delay.as_secs_f64()),
        "state": number(state.state),
        "wantstate": number(if state.state == State::Fault { State::Backup } else { state.state }),
        "version": match config.version { VrrpVersion::V2 => 2, VrrpVersion::V3 => 3 },
        "smtp_alert": config.router.smtp_alert,
        "notify_deleted": config.router.notify.report_deleted,
    });
    if let Value::Object(data) = &mut data {
        scripts(&config.router.notify, data);
        let addresses = |vips: &[VirtualAddress]| {
            vips.iter().map(|vip| address(vip, config, vmac, master)).collect()
        };
        array(data, "vips", addresses(&config.router.vips));
        array(data, "evips", addresses(&config.router.excluded_vips));
        let names = |tracked: &[Tracked]| tracked.iter().map(|t| t.name.clone()).collect();
        let commands = |tracked: &[Tracked]| {
            let scripts = tracked.iter().filter_map(|tracked| {
                model.vrrp_scripts.iter().find(|script| script.name == tracked.name)
            });
            scripts.map(|script| quoted(&script.script)).collect()
        };
        array(data, "track_ifp", names(&config.router.track_interfaces));
        array(data, "track_script", commands(&config.router.track_scripts));
        array(data, "track_process", names(&config.router.track_processes));
        let kind = match (&config.header_key, &config.password) {
            (Some(_), _) => 2,
            (None, Some(_)) => 1,
            (None, None) => 0,
        };
        data.insert("auth_type".into(), kind.into());
        if kind != 0 {
            // keepalived writes the password; a dump is no place for one.
            data.insert("auth_data".into(), "********".into());
        }
    }
    data
}

/// As keepalived writes times: a whole number of seconds is an integer, for exporters that expect
/// one.
fn seconds(seconds: f64) -> Value {
    if seconds.fract() == 0.0 { json!(seconds as u64) } else { json!(seconds) }
}

fn array(data: &mut Map<String, Value>, key: &str, items: Vec<String>) {
    if !items.is_empty() {
        data.insert(key.into(), items.into());
    }
}

fn scripts(notify: &Notify, data: &mut Map<String, Value>) {
    for (key, script) in [
        ("script_backup", &notify.backup),
        ("script_master", &notify.master),
        ("script_fault", &notify.fault),
        ("script_stop", &notify.stop),
        ("script_deleted", &notify.deleted),
        ("script", &notify.any),
        ("script_master_rx_lower_pri", &notify.master_rx_lower_pri),
    ] {
        if let Some(script) = script {
            data.insert(key.into(), quoted(script).into());
        }
    }
}

/// Every word in single quotes.
pub(super) fn quoted(script: &Script) -> String {
    script.argv.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

/// `10.9.9.9/24 dev eth0 scope global set`, the prefix where it is not a single host; on the virtual
/// MAC of the instance `dev vrrp.51@eth0`.
pub(super) fn address(
    vip: &VirtualAddress,
    config: &VrrpInstance,
    vmac: Option<&str>,
    set: bool,
) -> String {
    let mut text = vip.address.to_string();
    if vip.prefix != (if vip.address.is_ipv4() { 32 } else { 128 }) {
        text += &format!("/{}", vip.prefix);
    }
    if let Some(broadcast) = vip.broadcast {
        text += &format!(" brd {broadcast}");
    }
    let own = config.router.interface.as_ref();
    match (vmac, vip.interface.as_ref().or(own)) {
        (Some(vmac), Some(interface)) if Some(interface) == own => {
            text += &format!(" dev {vmac}@{interface}");
        }
        (_, Some(interface)) => text += &format!(" dev {interface}"),
        (_, None) => {}
    }
    text += &match vip.scope {
        0 => " scope global".to_owned(),
        200 => " scope site".to_owned(),
        253 => " scope link".to_owned(),
        254 => " scope host".to_owned(),
        scope => format!(" scope {scope}"),
    };
    if let Some(label) = &vip.label {
        text += &format!(" label {label}");
    }
    if vip.flags.no_prefix_route {
        text += " noprefixroute";
    }
    match (vip.flags.preferred, vip.address.is_ipv6()) {
        (Some(Lifetime::Seconds(seconds)), _) => text += &format!(" preferred_lft {seconds}"),
        (Some(Lifetime::Forever), _) | (None, true) => text += " preferred_lft forever",
        (None, false) => {}
    }
    if vip.no_track {
        text += " no_track";
    }
    if set {
        text += " set";
    }
    text
}

fn number(state: State) -> u8 {
    match state {
        State::Init | State::Stop | State::Deleted => 0,
        State::Backup => 1,
        State::Master => 2,
        State::Fault => 3,
    }
}

fn stats(c: &VrrpCounters) -> Value {
    json!({
        "advert_rcvd": c.advert_rcvd,
        "advert_sent": c.advert_sent,
        "become_master": c.become_master,
        "release_master": c.release_master,
        "packet_len_err": c.packet_len_err,
        "advert_interval_err": c.advert_interval_err,
        "ip_ttl_err": c.ip_ttl_err,
        "invalid_type_rcvd": c.invalid_type_rcvd,
        "addr_list_err": c.addr_list_err,
        "invalid_authtype": c.invalid_authtype,
        "authtype_mismatch": c.authtype_mismatch,
        "auth_failure": c.auth_failure,
        "auth_ext_missing": 0,
        "auth_ext_malformed": 0,
        "auth_ext_unknown_key": 0,
        "auth_ext_invalid_hmac": 0,
        "auth_ext_stale": 0,
        "auth_ext_replay": 0,
        "pri_zero_rcvd": c.pri_zero_rcvd,
        "pri_zero_sent": c.pri_zero_sent,
    })
}
