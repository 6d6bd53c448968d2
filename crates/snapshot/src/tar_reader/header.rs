//! One 512-byte tar header, of any of the formats: v7, ustar, GNU, star.
//!
//! Fields as they are; what PAX and GNU extension entries say on top is `mod.rs`'s business.

use crate::Mtime;

pub(super) const BLOCK: usize = 512;

/// A header block.
pub(super) struct Header<'a>(pub &'a [u8; BLOCK]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Gnu,
    Star,
}

/// What is wrong with a header.
pub(super) type Bad = String;

impl Header<'_> {
    /// Whether the checksum is right. Some old tars summed signed characters.
    pub fn is_sealed(&self) -> bool {
        let Ok(sum) = number(&self.0[148..156]) else { return false };
        let byte = |(at, b): (usize, &u8)| if (148..156).contains(&at) { b' ' } else { *b };
        let unsigned: i64 = self.0.iter().enumerate().map(|x| i64::from(byte(x))).sum();
        let signed: i64 = self.0.iter().enumerate().map(|x| i64::from(byte(x) as i8)).sum();
        sum == unsigned || sum == signed
    }

    pub fn format(&self) -> Format {
        match &self.0[257..265] {
            b"ustar  \0" => Format::Gnu,
            magic if magic.starts_with(b"ustar\0") => {
                if &self.0[508..512] == b"tar\0" {
                    Format::Star
                } else {
                    Format::Ustar
                }
            }
            _ => Format::V7,
        }
    }

    pub fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// The path of the header itself, its prefix included.
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.format() {
            Format::V7 => b"",
            Format::Ustar => text(&self.0[345..500]),
            Format::Star => text(&self.0[345..476]),
            // GNU has two times where ustar has the prefix, but archives of Go before 1.8, Docker's among them, may
            // have a prefix all the same: what is no number there is one.
            Format::Gnu if self.has_stray_prefix() => text(&self.0[345..500]),
            Format::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    fn has_stray_prefix(&self) -> bool {
        let times = [345..357, 357..369];
        let no_time = times.into_iter().any(|at| self.0[at.start] != 0 && number(&self.0[at]).is_err());
        no_time && text(&self.0[345..500]).is_ascii()
    }

    pub fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    pub fn mode(&self) -> Result<u32, Bad> {
        // The bits above are the file's type, in some archives.
        Ok((field(&self.0[100..108], "mode")? & 0o7777) as u32)
    }

    pub fn uid(&self) -> Result<i64, Bad> {
        field(&self.0[108..116], "uid")
    }

    pub fn gid(&self) -> Result<i64, Bad> {
        field(&self.0[116..124], "gid")
    }

    pub fn size(&self) -> Result<u64, Bad> {
        size(&self.0[124..136], "size")
    }

    pub fn mtime(&self) -> Result<Mtime, Bad> {
        Ok(Mtime { sec: field(&self.0[136..148], "mtime")?, nsec: 0 })
    }

    /// Major and minor number; only devices have some, and the fields of others may hold anything.
    pub fn device(&self) -> Result<(u32, u32), Bad> {
        if self.format() == Format::V7 {
            return Ok((0, 0));
        }
        let part = |at: &[u8]| -> Result<u32, Bad> {
            u32::try_from(field(at, "device number")?).map_err(|_| "device number out of range".into())
        };
        Ok((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    /// The old GNU sparse fields: the map's first part, whether more blocks of it follow, and the real size.
    pub fn gnu_sparse(&self) -> Result<(&[u8], bool, u64), Bad> {
        if self.format() != Format::Gnu {
            return Err("a sparse file whose header is not GNU's".into());
        }
        Ok((&self.0[386..482], self.0[482] != 0, size(&self.0[483..495], "real size")?))
    }
}

/// Bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}

fn field(bytes: &[u8], name: &str) -> Result<i64, Bad> {
    number(bytes).map_err(|()| format!("its {name} is no number: {:?}", bytes.escape_ascii().to_string()))
}

pub(super) fn size(bytes: &[u8], name: &str) -> Result<u64, Bad> {
    u64::try_from(field(bytes, name)?).map_err(|_| format!("its {name} is negative"))
}

/// Octal with spaces or NULs around it, nothing at all for zero; or, if the top bit is set, base-256.
fn number(field: &[u8]) -> Result<i64, ()> {
    let first = *field.first().ok_or(())?;
    if first & 0x80 != 0 {
        // Two's complement over the bits after the first.
        let negative = first & 0x40 != 0;
        let mut value: i64 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = match (at, negative) {
                (0, false) => byte & 0x7f,
                (0, true) => byte | 0x80,
                _ => *byte,
            };
            if value != value << 8 >> 8 {
                return Err(());
            }
            value = (value << 8) | i64::from(byte);
        }
        return Ok(value);
    }
    let trim = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !trim(b)).unwrap_or(field.len());
    let end = field.iter().rposition(|b| !trim(b)).map_or(start, |at| at + 1);
    let mut value: i64 = 0;
    // What follows a NUL inside the field is no part of it.
    for digit in text(&field[start..end]) {
        match digit {
            b'0'..=b'7' => value = value.checked_mul(8).ok_or(())? + i64::from(digit - b'0'),
            b' ' => break,
            _ => return Err(()),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000644\0"), Ok(0o644));
        assert_eq!(number(b"   644 \0"), Ok(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Ok(0));
        assert_eq!(number(b"77777777777\0"), Ok(0o77777777777));
        assert_eq!(number(b"777777777777"), Ok(0o777777777777));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 2]), Ok(258));
        assert_eq!(number(&[0xff; 12]), Ok(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]), Ok(-2));
        assert_eq!(number(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(()));
        assert_eq!(number(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Ok(i64::MAX));
        assert_eq!(number(b"12x\0"), Err(()));
        assert_eq!(number(b"-1\0"), Err(()));
        assert_eq!(number(b"9\0"), Err(()));
    }
}
