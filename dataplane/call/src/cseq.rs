//! The CSeq book of one direction of a call (calls.md 7): how the sender's numbers become the receiver's when the edge
//! has put requests of its own in between.

/// Maps the numbers of one direction. The difference δ starts at 0 and rises with each request of our own.
#[derive(Clone, Debug, Default)]
pub(crate) struct CseqBook {
    delta: u32,
    last: u32,
}

impl CseqBook {
    /// The number a forwarded request gets; it is always above every number given before.
    pub(crate) fn forward(&mut self, number: u32) -> u32 {
        let mapped = number.saturating_add(self.delta);
        if mapped <= self.last && self.last > 0 {
            self.delta += self.last + 1 - mapped;
        }
        self.last = number.saturating_add(self.delta);
        self.last
    }

    /// The number of a request the edge makes itself.
    pub(crate) fn own(&mut self) -> u32 {
        self.delta += 1;
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_unchanged_until_the_edge_asks_something_itself() {
        let mut book = CseqBook::default();
        assert_eq!((book.forward(101), book.forward(102)), (101, 102));
        assert_eq!(book.own(), 103);
        assert_eq!((book.forward(103), book.forward(104)), (104, 105));
        assert_eq!(book.own(), 106);
        assert_eq!(book.forward(105), 107);
    }

    #[test]
    fn a_first_request_after_our_own_stays_above_it() {
        let mut book = CseqBook::default();
        assert_eq!(book.own(), 1);
        assert_eq!((book.forward(0), book.forward(1)), (2, 3));
        let mut book = CseqBook::default();
        assert_eq!(book.own(), 1);
        assert_eq!(book.forward(7), 8);
    }
}
