//! What threads and tasks tell one another: queues with a bound, and a rule for what gives.
//!
//! A message that makes an earlier one void takes its place. When a mailbox is full, messages are dropped
//! and counted, but for the few that always find room.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::mpsc::error::TryRecvError;

/// What can wait in a mailbox.
pub trait Message {
    /// Some messages make others void.
    const MERGES: bool = false;

    /// Whether an earlier one of the same mailbox is of no interest any more.
    fn voids(&self, _earlier: &Self) -> bool {
        false
    }

    /// Whether it finds room even when the mailbox is full; of these there are few.
    fn always(&self) -> bool {
        false
    }
}

/// Opens a mailbox with room for so many messages.
#[must_use]
pub fn mailbox<T: Message>(room: usize) -> (Sender<T>, Inbox<T>) {
    let waiting = Waiting { messages: VecDeque::new(), dropped: 0, senders: 1, closed: false };
    let shared = Arc::new(Shared { waiting: Mutex::new(waiting), arrived: Notify::new(), room });
    (Sender(Arc::clone(&shared)), Inbox(shared))
}

struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Notify,
    room: usize,
}

struct Waiting<T> {
    messages: VecDeque<T>,
    /// Not yet told of.
    dropped: u64,
    senders: usize,
    closed: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody reads the mailbox any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// The end that messages are put in; never blocks.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T: Message> Sender<T> {
    /// Puts a message in the place of one that it makes void, else behind all others, or drops it when
    /// the mailbox is full.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn send(&self, message: T) -> Result<(), Closed> {
        let mut waiting = self.0.lock();
        if waiting.closed {
            return Err(Closed);
        }
        let void = if T::MERGES {
            waiting.messages.iter().position(|earlier| message.voids(earlier))
        } else {
            None
        };
        if let Some(void) = void {
            waiting.messages.remove(void);
        } else if waiting.messages.len() >= self.0.room && !message.always() {
            waiting.dropped += 1;
            return Ok(());
        }
        waiting.messages.push_back(message);
        drop(waiting);
        self.0.arrived.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.arrived.notify_one();
    }
}

/// The end that messages are taken out of. Dropped, it drops what waits.
pub struct Inbox<T>(Arc<Shared<T>>);

impl<T> Inbox<T> {
    /// Takes the first message, or waits for one; `None` when there is nobody left to send any. May be
    /// given up at any time.
    pub async fn recv(&mut self) -> Option<T> {
        loop {
            match self.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.0.arrived.notified().await,
            }
        }
    }

    /// Takes the first message.
    ///
    /// # Errors
    /// When none waits.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut waiting = self.0.lock();
        match (waiting.messages.pop_front(), waiting.senders) {
            (Some(message), _) => Ok(message),
            (None, 0) => Err(TryRecvError::Disconnected),
            (None, _) => Err(TryRecvError::Empty),
        }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().messages.is_empty()
    }

    /// How many messages were dropped since the last time, because the mailbox was full.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.0.lock().dropped)
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        let messages = std::mem::take(&mut waiting.messages);
        drop(waiting);
        // Whoever waits for a reply learns that there will be none.
        drop(messages);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Told {
        State(u8, u32),
        Stop,
    }

    impl Message for Told {
        const MERGES: bool = true;

        fn voids(&self, earlier: &Self) -> bool {
            matches!((self, earlier), (Self::State(one, _), Self::State(other, _)) if one == other)
        }

        fn always(&self) -> bool {
            *self == Self::Stop
        }
    }

    #[test]
    fn a_later_state_takes_the_place_of_an_earlier_one() {
        let (sender, mut inbox) = mailbox(2);
        for value in 0..1_000 {
            sender.send(Told::State(1, value)).unwrap();
            sender.send(Told::State(2, value)).unwrap();
        }
        assert_eq!(inbox.take_dropped(), 0);
        assert_eq!(inbox.try_recv(), Ok(Told::State(1, 999)));
        assert_eq!(inbox.try_recv(), Ok(Told::State(2, 999)));
        assert_eq!(inbox.try_recv(), Err(TryRecvError::Empty));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_some_always_fits() {
        let (sender, mut inbox) = mailbox(2);
        for number in 0..5 {
            sender.send(Told::State(number, 0)).unwrap();
        }
        sender.send(Told::Stop).unwrap();
        assert_eq!((inbox.take_dropped(), inbox.take_dropped()), (3, 0));
        let waiting: Vec<_> = std::iter::from_fn(|| inbox.try_recv().ok()).collect();
        assert_eq!(waiting, [Told::State(0, 0), Told::State(1, 0), Told::Stop]);
    }

    #[tokio::test]
    async fn both_ends_learn_when_the_other_one_is_gone() {
        let (sender, mut inbox) = mailbox(2);
        let other = sender.clone();
        other.send(Told::Stop).unwrap();
        drop((sender, other));
        assert_eq!(inbox.recv().await, Some(Told::Stop));
        assert_eq!(inbox.recv().await, None);
        let (sender, inbox) = mailbox(2);
        drop(inbox);
        assert_eq!(sender.send(Told::Stop), Err(Closed));
    }

    #[tokio::test]
    async fn a_message_wakes_who_waits() {
        let (sender, mut inbox) = mailbox(2);
        let waiting = tokio::spawn(async move { inbox.recv().await });
        tokio::task::yield_now().await;
        sender.send(Told::Stop).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(Told::Stop));
    }
}
