//! A bounded mailbox that wakes its reader's poller, and only when it has to.
//!
//! A full mailbox refuses; it never blocks the sender and never grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::Waker;

/// The sending end; cheap to clone.
#[derive(Debug)]
pub(crate) struct Postbox<T> {
    sender: SyncSender<T>,
    bell: Bell,
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    receiver: Receiver<T>,
    rung: Arc<AtomicBool>,
}

/// Wakes a poller once until it looks.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    waker: Arc<Waker>,
    rung: Arc<AtomicBool>,
}

/// A mailbox of `capacity` messages whose reader waits on `waker`.
pub(crate) fn mailbox<T>(capacity: usize, waker: Waker) -> (Postbox<T>, Mailbox<T>) {
    let (sender, receiver) = sync_channel(capacity.max(1));
    let rung = Arc::new(AtomicBool::new(false));
    let bell = Bell {
        waker: Arc::new(waker),
        rung: Arc::clone(&rung),
    };
    (Postbox { sender, bell }, Mailbox { receiver, rung })
}

impl<T> Clone for Postbox<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T> Postbox<T> {
    /// Leaves a message.
    ///
    /// # Errors
    /// Hands the message back when the mailbox is full or its reader is gone.
    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        match self.sender.try_send(message) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => Err(message),
        }
    }

    /// The bell of its reader.
    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }
}

impl Bell {
    /// Wakes the reader, unless it was woken and has not looked yet.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The poller's own descriptor: a failure means it is full of wakes already.
            let _ = self.waker.wake();
        }
    }
}

impl<T> Mailbox<T> {
    /// To be called after a wake and before the first [`next`](Self::next), so that later messages ring again.
    pub(crate) fn begin(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// The next message, if there is one.
    pub(crate) fn next(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    #[test]
    fn full_mailbox_hands_the_message_back() {
        let poll = Poll::new().unwrap();
        let (postbox, mailbox) = mailbox(2, Waker::new(poll.registry(), Token(0)).unwrap());
        assert_eq!(postbox.send(1), Ok(()));
        assert_eq!(postbox.send(2), Ok(()));
        assert_eq!(postbox.send(3), Err(3));
        assert_eq!(mailbox.next(), Some(1));
        assert_eq!(postbox.send(4), Ok(()));
    }

    #[test]
    fn reader_that_began_is_woken_by_the_next_message() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let (postbox, mailbox) = mailbox(8, Waker::new(poll.registry(), Token(0)).unwrap());
        for round in 0..3 {
            postbox.send(round).unwrap();
            postbox.send(round).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
            assert_eq!(events.iter().count(), 1, "one wake for two messages");
            mailbox.begin();
            while mailbox.next().is_some() {}
        }
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
