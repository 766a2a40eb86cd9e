//! Why an instance is where it is.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lb_election::Leave;

use crate::message::Sender;
use crate::timing::{master_down_interval, skew_time};
use crate::types::{Priority, Version};

/// What a backup's timers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Version 2 has a skew of its own.
    pub version: Version,
    /// Our priority, as the timers have it.
    pub priority: Priority,
    /// Interval of the master.
    pub adver_int: Duration,
    /// Intervals of silence that make a master dead.
    pub down_timer_adverts: u32,
}

impl Patience {
    /// Skew_Time.
    #[must_use]
    pub fn skew(&self) -> Duration {
        skew_time(self.version, self.priority, self.adver_int)
    }

    /// Active_Down_Interval.
    #[must_use]
    pub fn down_interval(&self) -> Duration {
        master_down_interval(self.version, self.priority, self.adver_int, self.down_timer_adverts)
    }

    /// How the skew is worked out.
    fn write_skew(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.adver_int,
        };
        write!(f, "(256 − {})/256 × {} s", self.priority, unit.as_secs_f64())
    }
}

/// The cause of the last transition, with the figures that decided. Its `Display` says it in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// It was never told to begin.
    #[default]
    New,
    /// It began.
    Startup,
    /// The addresses are its own.
    Owner,
    /// No master was heard.
    Silence {
        /// For how long.
        patience: Patience,
        /// Who was the last one.
        last: Option<Sender>,
    },
    /// The master said that it stops.
    Stopped {
        /// The master.
        from: IpAddr,
        /// A skew of this later.
        patience: Patience,
    },
    /// The master has a lower priority, and we preempt.
    Lower {
        /// The master.
        from: Sender,
        /// Our priority.
        ours: Priority,
    },
    /// An address was lost, and nobody took over for a skew.
    Retaken {
        /// Of this.
        patience: Patience,
    },
    /// Another master has a higher priority.
    Higher {
        /// The other.
        from: IpAddr,
        /// Its priority.
        theirs: Priority,
        /// Ours.
        ours: Priority,
    },
    /// Another master has the same priority, and its address decided.
    Tie {
        /// The other.
        from: IpAddr,
        /// Of both.
        priority: Priority,
        /// Our address.
        source: IpAddr,
    },
    /// Another owner of the same addresses did not see its mistake.
    Duel {
        /// The other.
        from: IpAddr,
    },
    /// A cause of FAULT arose.
    Fault {
        /// Its own, not that of another member of its group.
        own: bool,
    },
    /// The last cause of FAULT is gone.
    Recovered,
    /// Somebody else removed a virtual address.
    VipLost,
    /// The sync group became MASTER, or the instance was MASTER before.
    Promoted,
    /// The sync group ceased to be MASTER.
    Demoted,
    /// As MASTER it let go at once.
    Leaving(Leave),
    /// Another router took over as it was asked to.
    TookOver {
        /// Who.
        by: IpAddr,
        /// Why it was asked to.
        leave: Leave,
    },
    /// Nobody took over in time.
    Alone {
        /// Why somebody was asked to.
        leave: Leave,
    },
    /// It need not leave any more.
    Stayed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::New => write!(f, "it has not been started"),
            Self::Startup => write!(f, "it was started, and listens first"),
            Self::Owner => write!(f, "it owns the addresses (priority 255)"),
            Self::Silence { patience, last } => {
                let Patience { adver_int, down_timer_adverts, .. } = patience;
                write!(
                    f,
                    "nothing heard for {:.3} s ({down_timer_adverts} × {} s + skew ",
                    patience.down_interval().as_secs_f64(),
                    adver_int.as_secs_f64()
                )?;
                patience.write_skew(f)?;
                match last {
                    Some(Sender { address, priority }) => {
                        write!(f, "); last from {address} with priority {priority}")
                    }
                    None => write!(f, "); never from anybody"),
                }
            }
            Self::Stopped { from, patience } => {
                let skew = patience.skew().as_secs_f64();
                write!(f, "{from} said that it stops (priority 0), skew {skew:.3} s (")?;
                patience.write_skew(f)?;
                write!(f, ") ago")
            }
            Self::Lower { from: Sender { address, priority }, ours } => {
                write!(f, "{address} advertises priority {priority}, lower than our {ours}")
            }
            Self::Retaken { patience } => write!(
                f,
                "nobody took the virtual addresses for {:.3} s",
                patience.skew().as_secs_f64()
            ),
            Self::Higher { from, theirs, ours } => {
                write!(f, "{from} advertises priority {theirs}, higher than our {ours}")
            }
            Self::Tie { from, priority, source } => {
                write!(
                    f,
                    "equal priority {priority}, but address {from} is higher than our {source}"
                )
            }
            Self::Duel { from } => write!(
                f,
                "{from} claims to own the addresses (priority 255) too, and does not give in"
            ),
            Self::Fault { own: true } => write!(f, "it cannot take part"),
            Self::Fault { own: false } => write!(f, "another member of its group cannot take part"),
            Self::Recovered => write!(f, "it can take part again, and listens first"),
            Self::VipLost => write!(f, "somebody else removed a virtual address"),
            Self::Promoted => write!(f, "it is to be MASTER, as its group or as before"),
            Self::Demoted => write!(f, "its group ceased to be MASTER"),
            Self::Leaving(leave) => write!(f, "{leave}"),
            Self::TookOver { by, leave } => write!(f, "{leave}, and {by} took over"),
            Self::Alone { leave } => write!(f, "{leave}, and nobody took over in time"),
            Self::Stayed => write!(f, "it no longer has to leave"),
        }
    }
}
