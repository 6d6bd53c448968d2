//! Raw deflate of one block of many, so that the next can follow it in the same stream.
//!
//! libdeflate is more than twice as fast as zlib at the same size, but ends every stream that it makes: the last of its
//! deflate blocks is marked final. To join streams, that mark is found and cleared, and the stream is led to a byte's
//! edge by an empty stored block, as zlib's sync flush does (RFC 1951, 3.2.3 and 3.2.4). Where the last block begins
//! only a walk over all symbols tells. It copies nothing, takes several symbols in one step, and does not branch on
//! what they are: it costs a small part of the compression.
//!
//! ISA-L's igzip takes two fifths of libdeflate's time, but makes other bytes on arm64 than on amd64, and others again on
//! processors without SSE 4.2: the digest of a layer must not depend on who pushes it.

use std::io;

use libdeflater::{CompressionLvl, Compressor};

/// Bits that the first lookup of a code takes; few codes are longer.
const LOOKUP: u32 = 11;
/// The longest code (RFC 1951, 3.2.7).
const LONGEST: usize = 15;
/// An empty stored block after its three header bits, at a byte's edge.
const EMPTY_STORED: [u8; 4] = [0, 0, 0xff, 0xff];

/// Deflates block after block, each by itself.
pub(super) struct Deflater {
    compressor: Compressor,
    /// Room for what may come out, several times what does.
    out: Vec<u8>,
}

impl Deflater {
    /// At `level`, 0 to 9.
    pub fn new(level: u32) -> io::Result<Deflater> {
        let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
        let level = level.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Deflater { compressor: Compressor::new(level), out: Vec::new() })
    }

    /// `bytes` as a raw deflate stream; without an end, and up to a byte's edge, unless they are the `last`.
    pub fn deflate(&mut self, bytes: &[u8], last: bool) -> io::Result<Vec<u8>> {
        let bound = self.compressor.deflate_compress_bound(bytes.len());
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        let len = self.compressor.deflate_compress(bytes, &mut self.out).map_err(io::Error::other)?;
        let deflated = &self.out[..len];
        if last {
            return Ok(deflated.to_vec());
        }
        let ends =
            last_block(deflated).ok_or_else(|| io::Error::other("libdeflate made no deflate stream"))?;
        // Bits after the end are zero, as the header of the empty block is: its three bits may need a byte more.
        let edge = (ends.end + 3).div_ceil(8);
        let mut out = Vec::with_capacity(edge + EMPTY_STORED.len());
        out.extend_from_slice(deflated);
        out[ends.begin / 8] &= !(1 << (ends.begin % 8));
        out.resize(edge, 0);
        out.extend_from_slice(&EMPTY_STORED);
        Ok(out)
    }
}

/// Bit positions of a stream's last block: of its header, and behind its last symbol.
#[derive(Debug, PartialEq, Eq)]
struct Ends {
    begin: usize,
    end: usize,
}

/// Walks over a whole raw deflate stream. `None` if it is none.
fn last_block(stream: &[u8]) -> Option<Ends> {
    let mut bits = Bits { stream, at: 0, held: 0, count: 0 };
    loop {
        let begin = bits.position();
        let header = bits.take(3)?;
        match header >> 1 {
            0 => bits.skip_stored()?,
            1 => bits.skip_symbols(&Codes::fixed()?)?,
            2 => {
                let codes = bits.codes()?;
                bits.skip_symbols(&codes)?;
            }
            _ => return None,
        }
        if header & 1 == 1 {
            return Some(Ends { begin, end: bits.position() });
        }
    }
}

/// A stream's bits, lowest first.
struct Bits<'a> {
    stream: &'a [u8],
    /// The next byte that is not held.
    at: usize,
    held: u64,
    /// How many bits of `held` count.
    count: u32,
}

impl Bits<'_> {
    fn position(&self) -> usize {
        self.at * 8 - self.count as usize
    }

    /// Holds at least 56 bits, or all that are left.
    fn refill(&mut self) {
        if let Some(word) = self.stream.get(self.at..self.at + 8).and_then(|word| word.try_into().ok()) {
            self.held |= u64::from_le_bytes(word) << self.count;
            let taken = (63 - self.count) / 8;
            self.at += taken as usize;
            self.count += taken * 8;
            return;
        }
        while self.count <= 56
            && let Some(&byte) = self.stream.get(self.at)
        {
            self.held |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    fn drop_bits(&mut self, n: u32) -> Option<()> {
        self.count = self.count.checked_sub(n)?;
        self.held >>= n;
        Some(())
    }

    /// The next `n` bits, at most 16.
    fn take(&mut self, n: u32) -> Option<u32> {
        self.refill();
        let value = (self.held & ((1 << n) - 1)) as u32;
        self.drop_bits(n)?;
        Some(value)
    }

    fn skip_stored(&mut self) -> Option<()> {
        self.drop_bits(self.count % 8)?;
        let len = self.take(16)?;
        if self.take(16)? != !len & 0xffff {
            return None;
        }
        let to = self.position() / 8 + len as usize;
        (to <= self.stream.len()).then(|| (self.at, self.held, self.count) = (to, 0, 0))
    }

    /// The codes of a block with codes of its own (RFC 1951, 3.2.7).
    fn codes(&mut self) -> Option<Codes> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let literals = self.take(5)? as usize + 257;
        let distances = self.take(5)? as usize + 1;
        let count = self.take(4)? as usize + 4;
        let mut lengths = [0u8; 19];
        for at in &ORDER[..count] {
            lengths[*at] = self.take(3)? as u8;
        }
        // What each symbol skips is told by its number here.
        let code = Code::new(&lengths, |symbol| symbol as u16)?;
        let mut lengths = [0u8; 286 + 32];
        let mut at = 0;
        while at < literals + distances {
            self.refill();
            let symbol = self.symbol(&code)?;
            let (value, times) = match symbol {
                0..=15 => (symbol as u8, 1),
                16 => (*lengths.get(at.checked_sub(1)?)?, 3 + self.take(2)?),
                17 => (0, 3 + self.take(3)?),
                _ => (0, 11 + self.take(7)?),
            };
            let to = at + times as usize;
            lengths.get_mut(at..to)?.fill(value);
            at = to;
        }
        Codes::new(lengths.get(..literals)?, lengths.get(literals..literals + distances)?)
    }

    /// The value of the next code, with at least 15 bits held or all that are left.
    fn symbol(&mut self, code: &Code) -> Option<u16> {
        let found = code.lookup[self.ahead()];
        let (length, value) = match found.length {
            0 => code.long(self.held)?,
            length => (u32::from(length), found.value),
        };
        self.drop_bits(length)?;
        Some(value)
    }

    /// What a lookup is done by.
    #[inline]
    fn ahead(&self) -> usize {
        (self.held & ((1 << LOOKUP) - 1)) as usize
    }

    fn skip_symbols(&mut self, codes: &Codes) -> Option<()> {
        loop {
            // The longest step there can be has 15 + 5 bits for a length and 15 + 13 for its distance.
            self.refill();
            let step = codes.steps[self.ahead()];
            if step.bits != 0 {
                self.drop_bits(step.bits.into())?;
                // Where no distance follows, nothing of it is taken: what symbols are is as good as random, and a wrong
                // guess of the processor costs more than the lookup.
                let distance = codes.distance_steps[self.ahead()] & step.distance;
                if distance == LONG {
                    self.skip_distance(codes)?;
                } else {
                    self.drop_bits(distance.into())?;
                }
                continue;
            }
            match self.symbol(&codes.literals)? {
                LITERAL => {}
                END => return Some(()),
                extra => {
                    self.drop_bits(u32::from(extra - LENGTH))?;
                    self.skip_distance(codes)?;
                }
            }
        }
    }

    fn skip_distance(&mut self, codes: &Codes) -> Option<()> {
        let extra = self.symbol(&codes.distances)?;
        self.drop_bits(extra.into())
    }
}

/// What a symbol of the literals' code is: a literal, the block's end, or a length with so many bits more.
const LITERAL: u16 = 0;
const END: u16 = 1;
const LENGTH: u16 = 2;

/// For a code that is longer than a lookup.
const LONG: u16 = u16::MAX;

/// Symbols that are skipped at once: as many literals as a lookup has, and a length behind them if it has that whole.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Bits of all, the length's extra ones included; 0 where the first symbol is none of these or too long.
    bits: u16,
    /// All ones if a distance follows.
    distance: u16,
}

/// The two codes of a block.
struct Codes {
    literals: Code,
    distances: Code,
    steps: Box<[Step; 1 << LOOKUP]>,
    /// Bits of a distance, its extra ones included, or `LONG`.
    distance_steps: Box<[u16; 1 << LOOKUP]>,
}

impl Codes {
    fn new(literals: &[u8], distances: &[u8]) -> Option<Codes> {
        let literal = |symbol| match symbol {
            0..256 => LITERAL,
            256 => END,
            257..265 | 285.. => LENGTH,
            _ => LENGTH + (symbol as u16 - 261) / 4,
        };
        let distance = |symbol| if symbol < 4 { 0 } else { symbol as u16 / 2 - 1 };
        let literals = Code::new(literals, literal)?;
        let mut steps = Box::new([Step::default(); 1 << LOOKUP]);
        for (ahead, step) in steps.iter_mut().enumerate() {
            *step = literals.step(ahead);
        }
        let distances = Code::new(distances, distance)?;
        let mut distance_steps = Box::new([LONG; 1 << LOOKUP]);
        for (found, step) in distances.lookup.iter().zip(distance_steps.iter_mut()) {
            if found.length > 0 {
                *step = u16::from(found.length) + found.value;
            }
        }
        Some(Codes { literals, distances, steps, distance_steps })
    }

    /// RFC 1951, 3.2.6.
    fn fixed() -> Option<Codes> {
        let mut literals = [8; 288];
        literals[144..256].fill(9);
        literals[256..280].fill(7);
        Codes::new(&literals, &[5; 30])
    }
}

#[derive(Clone, Copy, Default)]
struct Found {
    /// Of the code in bits; 0 for codes longer than a lookup.
    length: u8,
    value: u16,
}

/// A canonical Huffman code (RFC 1951, 3.2.2), with a value for each symbol.
struct Code {
    lookup: Box<[Found; 1 << LOOKUP]>,
    /// How many codes there are of each length.
    counts: [u16; LONGEST + 1],
    /// The values, in the order of their codes.
    values: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8], value: impl Fn(usize) -> u16) -> Option<Code> {
        let mut counts = [0u16; LONGEST + 1];
        for &length in lengths {
            *counts.get_mut(usize::from(length))? += 1;
        }
        counts[0] = 0;
        let mut code = Code {
            lookup: Box::new([Found::default(); 1 << LOOKUP]),
            counts,
            values: Vec::with_capacity(lengths.len()),
        };
        let mut next = 0u32;
        for length in 1..=LONGEST {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, l)| usize::from(**l) == length) {
                if next >= 1 << length {
                    return None;
                }
                let value = value(symbol);
                code.values.push(value);
                if length as u32 <= LOOKUP {
                    // Codes come with their highest bit first.
                    let first = next.reverse_bits() >> (32 - length);
                    for at in (first..1 << LOOKUP).step_by(1 << length) {
                        code.lookup[at as usize] = Found { length: length as u8, value };
                    }
                }
                next += 1;
            }
            next <<= 1;
        }
        Some(code)
    }

    /// What can be skipped where these are the next bits.
    fn step(&self, ahead: usize) -> Step {
        let mut step = Step::default();
        loop {
            // Beyond the lookup's bits are zeros, which say nothing: a code that needs them is not taken.
            let found = self.lookup[ahead >> step.bits];
            let bits = step.bits + u16::from(found.length);
            if found.length == 0 || bits > LOOKUP as u16 || found.value == END {
                return step;
            }
            step.bits = bits;
            if found.value >= LENGTH {
                return Step { bits: bits + found.value - LENGTH, distance: u16::MAX };
            }
        }
    }

    /// Length and value of a code, bit by bit.
    fn long(&self, bits: u64) -> Option<(u32, u16)> {
        let (mut code, mut first, mut index) = (0u32, 0u32, 0u32);
        for length in 1..=LONGEST as u32 {
            code |= (bits >> (length - 1) & 1) as u32;
            let count = u32::from(self.counts[length as usize]);
            if code < first + count {
                return Some((length, *self.values.get((index + code - first) as usize)?));
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    /// What zlib calls the end, where its blocks begin.
    fn zlib(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() * 2 + 100);
        let mut deflater = Compress::new(Compression::new(level), false);
        deflater.compress_vec(bytes, &mut out, FlushCompress::Finish).unwrap();
        out
    }

    fn text(len: usize, alphabet: u32) -> Vec<u8> {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % alphabet.max(1)
        };
        (0..len).map(|_| next() as u8).collect()
    }

    #[test]
    fn the_last_block_of_small_streams() {
        // Fixed codes: "a" is a header, a literal of eight bits and seven bits of end.
        assert_eq!(last_block(&zlib(b"a", 6)), Some(Ends { begin: 0, end: 3 + 8 + 7 }));
        assert_eq!(last_block(&zlib(b"", 6)), Some(Ends { begin: 0, end: 3 + 7 }));
        // Stored.
        assert_eq!(last_block(&[1, 2, 0, 0xfd, 0xff, 7, 7]), Some(Ends { begin: 0, end: 7 * 8 }));
        for bad in [&b""[..], &[7], &[1, 2, 0, 0xfd, 0xff, 7], &[1, 2, 0, 0xfd, 0xfe, 7, 7], &[4]] {
            assert_eq!(last_block(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn broken_streams_end() {
        let whole = zlib(&text(20_000, 40), 6);
        assert!(last_block(&whole).is_some());
        for cut in (0..whole.len()).step_by(97) {
            assert_eq!(last_block(&whole[..cut]), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn joined_streams_inflate_to_what_was_joined(
            parts in proptest::collection::vec((0usize..200_000, 1u32..300), 1..4),
            level in 0u32..=9,
        ) {
            let mut deflater = Deflater::new(level).unwrap();
            let (mut joined, mut wanted) = (Vec::new(), Vec::new());
            for (at, (len, alphabet)) in parts.iter().enumerate() {
                let part = text(*len, *alphabet);
                joined.extend(deflater.deflate(&part, at + 1 == parts.len()).unwrap());
                wanted.extend(part);
            }
            let mut back = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(&joined[..]), &mut back).unwrap();
            prop_assert!(back == wanted);
        }
    }
}
