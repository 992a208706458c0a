//! Grammar mutations of good messages: what a hostile or broken sender makes of the letters of SIP, from a seed.
//!
//! It knows where lines, numbers and names are and what stands in them for good; it does not know what is still legal
//! afterwards, which is for the judge.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Letters that mean something to some parser.
const LETTERS: &[u8] = b"\0\r\n\t ;,:<>\"@%?[]=\\(){}/|\x01\x7f\xc0\xaf\xffA0";

/// Pieces that mean something to some parser.
const PIECES: [&str; 32] = [
    ";;",
    ",,",
    ", ",
    ";tag=",
    ";tag=other",
    ";branch=",
    ";branch=z9hG4bK",
    "%zz",
    "%00",
    "%0d%0aRoute:%20x",
    "<",
    ">",
    "\"",
    "\\\"",
    "sip:",
    "SIP/2.0",
    "\r\n ",
    "\r\n\t",
    "\r\n\r\n",
    "\r\nRoute: <sip:evil.example;lr>\r\n",
    "\nRoute: <sip:evil.example;lr>\n",
    "\rRoute: <sip:evil.example;lr>\r",
    "[::1",
    "]",
    ":65536",
    ":0",
    "?Route=%3Csip:evil.example%3E",
    "@evil.example",
    "${jndi:ldap://x}",
    "%n%n%s",
    "é",
    "\u{202e}",
];

/// Numbers at the edges of what somebody stores them in.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "+1",
    "00",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "18446744073709551616",
    "1e9",
    "0x10",
];

/// Names that one line may be given instead of its own.
const NAMES: [&str; 18] = [
    "Via",
    "v",
    "From",
    "f",
    "To",
    "Call-ID",
    "i",
    "CSeq",
    "Contact",
    "m",
    "Content-Length",
    "l",
    "Content-Type",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Proxy-Require",
    "X-Unknown",
];

/// What a mutation changes.
type Bytes = Vec<u8>;

type Mutation = fn(&mut StdRng, &mut Bytes);

const MUTATIONS: [Mutation; 19] = [
    flip_a_bit,
    set_a_letter,
    insert_a_letter,
    insert_a_piece,
    insert_a_piece,
    delete_a_range,
    repeat_a_range,
    truncate,
    duplicate_a_line,
    drop_a_line,
    swap_lines,
    break_a_line_end,
    change_a_number,
    rename_a_line,
    lengthen,
    change_the_case,
    empty_a_value,
    append,
    double_spaces,
];

/// A source of mutations.
#[derive(Debug)]
pub struct Mutator {
    rng: StdRng,
}

impl Mutator {
    /// The same seed gives the same mutations.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// A place in a list of so many.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn pick(&mut self, of: usize) -> usize {
        self.rng.random_range(0..of)
    }

    /// A message changed in one to three ways.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn mutate(&mut self, mut message: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.rng.random_range(1..=3) {
            let mutation = MUTATIONS.choose(&mut self.rng).expect("not empty");
            mutation(&mut self.rng, &mut message);
        }
        message
    }
}

fn place(rng: &mut StdRng, message: &[u8]) -> usize {
    rng.random_range(0..=message.len())
}

fn range(rng: &mut StdRng, message: &[u8]) -> std::ops::Range<usize> {
    let start = place(rng, message);
    let end = (start + rng.random_range(1..24)).min(message.len());
    start..end
}

/// Where each line begins and ends, its line end included.
fn lines(message: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut from = 0;
    let mut found = Vec::new();
    for (at, byte) in message.iter().enumerate() {
        if *byte == b'\n' {
            found.push(from..at + 1);
            from = at + 1;
        }
    }
    found
}

fn a_line(rng: &mut StdRng, message: &[u8]) -> Option<std::ops::Range<usize>> {
    lines(message).choose(rng).cloned()
}

fn flip_a_bit(rng: &mut StdRng, message: &mut Bytes) {
    let (at, bit) = (place(rng, message), rng.random_range(0..8));
    if let Some(byte) = message.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

fn set_a_letter(rng: &mut StdRng, message: &mut Bytes) {
    let (at, letter) = (place(rng, message), *LETTERS.choose(rng).expect("not empty"));
    if let Some(byte) = message.get_mut(at) {
        *byte = letter;
    }
}

fn insert_a_letter(rng: &mut StdRng, message: &mut Bytes) {
    let at = place(rng, message);
    message.insert(at, *LETTERS.choose(rng).expect("not empty"));
}

fn insert_a_piece(rng: &mut StdRng, message: &mut Bytes) {
    let at = place(rng, message);
    let piece = PIECES.choose(rng).expect("not empty");
    message.splice(at..at, piece.bytes());
}

fn delete_a_range(rng: &mut StdRng, message: &mut Bytes) {
    let range = range(rng, message);
    message.drain(range);
}

fn repeat_a_range(rng: &mut StdRng, message: &mut Bytes) {
    let range = range(rng, message);
    let (end, copy) = (range.end, message[range].to_vec());
    message.splice(end..end, copy);
}

fn truncate(rng: &mut StdRng, message: &mut Bytes) {
    // Mostly near the end, where a message still looks whole.
    let kept = message.len().saturating_sub(rng.random_range(1..80));
    message.truncate(kept);
}

fn duplicate_a_line(rng: &mut StdRng, message: &mut Bytes) {
    if let Some(line) = a_line(rng, message) {
        let (end, copy) = (line.end, message[line].to_vec());
        message.splice(end..end, copy);
    }
}

fn drop_a_line(rng: &mut StdRng, message: &mut Bytes) {
    if let Some(line) = a_line(rng, message) {
        message.drain(line);
    }
}

fn swap_lines(rng: &mut StdRng, message: &mut Bytes) {
    let (Some(one), Some(other)) = (a_line(rng, message), a_line(rng, message)) else {
        return;
    };
    let (first, last) = if one.start <= other.start {
        (one, other)
    } else {
        (other, one)
    };
    let (a, b) = (message[first.clone()].to_vec(), message[last.clone()].to_vec());
    if first != last {
        message.splice(last, a);
        message.splice(first, b);
    }
}

fn break_a_line_end(rng: &mut StdRng, message: &mut Bytes) {
    if let Some(line) = a_line(rng, message) {
        let ends: [&[u8]; 5] = [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n"];
        let end = ends.choose(rng).expect("not empty");
        message.splice(line.end.saturating_sub(2)..line.end, end.iter().copied());
    }
}

fn change_a_number(rng: &mut StdRng, message: &mut Bytes) {
    let starts: Vec<usize> = (0..message.len())
        .filter(|at| {
            let before = at.checked_sub(1).map(|before| message[before]);
            message[*at].is_ascii_digit() && !before.is_some_and(|byte| byte.is_ascii_digit())
        })
        .collect();
    let Some(start) = starts.choose(rng).copied() else {
        return;
    };
    let len = message[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS.choose(rng).expect("not empty");
    message.splice(start..start + len, number.bytes());
}

fn rename_a_line(rng: &mut StdRng, message: &mut Bytes) {
    let Some(line) = a_line(rng, message) else { return };
    if let Some(colon) = message[line.clone()].iter().position(|byte| *byte == b':') {
        let name = NAMES.choose(rng).expect("not empty");
        message.splice(line.start..line.start + colon, name.bytes());
    }
}

fn lengthen(rng: &mut StdRng, message: &mut Bytes) {
    let at = place(rng, message);
    let letter = *b"xX;,<\"0%".choose(rng).expect("not empty");
    let len = *[100, 1_000, 9_000].choose(rng).expect("not empty");
    message.splice(at..at, std::iter::repeat_n(letter, len));
}

fn change_the_case(rng: &mut StdRng, message: &mut Bytes) {
    if let Some(line) = a_line(rng, message) {
        for byte in &mut message[line] {
            if rng.random() {
                *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
            }
        }
    }
}

fn empty_a_value(rng: &mut StdRng, message: &mut Bytes) {
    let Some(line) = a_line(rng, message) else { return };
    let marks = [b':', b'=', b';'];
    let mark = marks.choose(rng).expect("not empty");
    if let Some(at) = message[line.clone()].iter().position(|byte| byte == mark) {
        message.drain(line.start + at + 1..line.end.saturating_sub(2).max(line.start + at + 1));
    }
}

fn append(rng: &mut StdRng, message: &mut Bytes) {
    let piece = PIECES.choose(rng).expect("not empty");
    message.extend_from_slice(piece.as_bytes());
}

fn double_spaces(rng: &mut StdRng, message: &mut Bytes) {
    if let Some(line) = a_line(rng, message) {
        let spaced: Vec<u8> = message[line.clone()]
            .iter()
            .flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b' ' { 2 } else { 1 }))
            .collect();
        message.splice(line, spaced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_mutations_and_most_change_something() {
        let good = b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let run = || {
            let mut mutator = Mutator::new(1);
            (0..200).map(|_| mutator.mutate(good.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
        let changed = run().iter().filter(|message| message.as_slice() != good).count();
        assert!(changed > 180, "{changed}");
    }
}
