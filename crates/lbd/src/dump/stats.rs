//! `keepalived.stats`: counters of every instance.

use std::fmt::Write as _;

use lb_control::status::Vrrp;

/// The counters of every instance, in keepalived's layout to the letter.
#[must_use]
pub fn stats(instances: &[Vrrp]) -> String {
    let mut out = String::new();
    for instance in instances {
        let c = &instance.counters;
        // Extension errors belong to `auth_hmac`; without it none can occur.
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "VRRP Instance: {}
  Advertisements:
    Received: {}
    Sent: {}
  Became master: {}
  Released master: {}
  Packet Errors:
    Length: {}
    TTL: {}
    Invalid Type: {}
    Advertisement Interval: {}
    Address List: {}
  Authentication Errors:
    Invalid Type: {}
    Type Mismatch: {}
    Failure: {}
  Authentication Extension Errors:
    Missing: 0
    Malformed: 0
    Unknown Key: 0
    Invalid HMAC: 0
    Stale: 0
    Replay: 0
  Priority Zero:
    Received: {}
    Sent: {}
",
            instance.name,
            c.advert_rcvd,
            c.advert_sent,
            c.become_master,
            c.release_master,
            c.packet_len_err,
            c.ip_ttl_err,
            c.invalid_type_rcvd,
            c.advert_interval_err,
            c.addr_list_err,
            c.invalid_authtype,
            c.authtype_mismatch,
            c.auth_failure,
            c.pri_zero_rcvd,
            c.pri_zero_sent,
        );
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;
    use lb_control::State;
    use lb_control::status::VrrpCounters;

    use super::*;

    /// An instance whose every counter has its own value.
    pub fn instance() -> Vrrp {
        Vrrp {
            name: "VI_1".into(),
            interface: "v0".into(),
            vrid: 1,
            family: "inet".into(),
            version: 2,
            state: State::Master,
            since: Timestamp::new(1_795_237_339, 932_453_000).unwrap(),
            priority: 100,
            effective_priority: 100,
            group: None,
            vips: vec!["10.9.9.9/32".into()],
            master: None,
            master_interval: 1.0,
            master_down_interval: 3.609,
            source: None,
            vmac: None,
            faults: Vec::new(),
            maintenance: None,
            handed_over: false,
            conflicts: Vec::new(),
            counters: VrrpCounters {
                advert_rcvd: 1,
                advert_sent: 2,
                become_master: 3,
                release_master: 4,
                packet_len_err: 5,
                advert_interval_err: 6,
                ip_ttl_err: 7,
                invalid_type_rcvd: 8,
                addr_list_err: 9,
                invalid_authtype: 10,
                authtype_mismatch: 11,
                auth_failure: 12,
                checksum_err: 13,
                version_err: 14,
                pri_zero_rcvd: 15,
                pri_zero_sent: 16,
            },
        }
    }

    #[test]
    fn every_counter_is_under_its_heading() {
        // Headings as a running keepalived writes them; the extension group as in 2.4.
        let expected = "VRRP Instance: VI_1
  Advertisements:
    Received: 1
    Sent: 2
  Became master: 3
  Released master: 4
  Packet Errors:
    Length: 5
    TTL: 7
    Invalid Type: 8
    Advertisement Interval: 6
    Address List: 9
  Authentication Errors:
    Invalid Type: 10
    Type Mismatch: 11
    Failure: 12
  Authentication Extension Errors:
    Missing: 0
    Malformed: 0
    Unknown Key: 0
    Invalid HMAC: 0
    Stale: 0
    Replay: 0
  Priority Zero:
    Received: 15
    Sent: 16
";
        assert_eq!(stats(&[instance()]), expected);
    }
}
