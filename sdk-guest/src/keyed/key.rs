//! Keys as bytes that sort as the keys do.

/// A key, or the borrowed form of one: `str` for `String`.
pub trait Encode {
    /// Appends the key's bytes. Equal keys have equal bytes, a smaller key has smaller bytes, and no key's bytes begin
    /// with those of another: the parts of a tuple follow each other.
    fn encode(&self, to: &mut Vec<u8>);
}

/// A key of a [`Keyed`](crate::Keyed): whole numbers, floats (in their total order), `bool`, `String`, `Vec<u8>`,
/// `Option` (`None` first), and tuples of keys, which sort by their parts.
pub trait Key: Encode + Sized {
    /// Takes a key off the front; `None` if the bytes do not begin with one.
    fn decode(from: &mut &[u8]) -> Option<Self>;
}

/// What follows a zero within a text; at its end there are two zeros.
const ZERO: u8 = 0xff;

impl Encode for [u8] {
    fn encode(&self, to: &mut Vec<u8>) {
        for part in self.split_inclusive(|byte| *byte == 0) {
            to.extend_from_slice(part);
            if part.last() == Some(&0) {
                to.push(ZERO);
            }
        }
        to.extend_from_slice(&[0, 0]);
    }
}

impl Encode for Vec<u8> {
    fn encode(&self, to: &mut Vec<u8>) {
        self.as_slice().encode(to);
    }
}

impl Key for Vec<u8> {
    fn decode(from: &mut &[u8]) -> Option<Self> {
        let mut key = Self::new();
        loop {
            let at = from.iter().position(|byte| *byte == 0)?;
            let (part, rest) = from.split_at_checked(at)?;
            key.extend_from_slice(part);
            let (ends, rest) = rest.split_first_chunk::<2>()?;
            *from = rest;
            match ends {
                [0, 0] => return Some(key),
                [0, ZERO] => key.push(0),
                _ => return None,
            }
        }
    }
}

impl Encode for str {
    fn encode(&self, to: &mut Vec<u8>) {
        self.as_bytes().encode(to);
    }
}

impl Encode for String {
    fn encode(&self, to: &mut Vec<u8>) {
        self.as_bytes().encode(to);
    }
}

impl Key for String {
    fn decode(from: &mut &[u8]) -> Option<Self> {
        Self::from_utf8(Vec::decode(from)?).ok()
    }
}

macro_rules! numbers {
    ($($number:ty => $bits:ty, $to:expr, $back:expr;)*) => {$(
        impl Encode for $number {
            fn encode(&self, to: &mut Vec<u8>) {
                let bits: $bits = $to(*self);
                to.extend_from_slice(&bits.to_be_bytes());
            }
        }

        impl Key for $number {
            fn decode(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some($back(<$bits>::from_be_bytes(*bytes)))
            }
        }
    )*};
}

numbers! {
    u8 => u8, |n| n, |n| n;
    u16 => u16, |n| n, |n| n;
    u32 => u32, |n| n, |n| n;
    u64 => u64, |n| n, |n| n;
    u128 => u128, |n| n, |n| n;
    i8 => u8, |n| n as u8 ^ 1 << 7, |n| (n ^ 1 << 7) as i8;
    i16 => u16, |n| n as u16 ^ 1 << 15, |n| (n ^ 1 << 15) as i16;
    i32 => u32, |n| n as u32 ^ 1 << 31, |n| (n ^ 1 << 31) as i32;
    i64 => u64, |n| n as u64 ^ 1 << 63, |n| (n ^ 1 << 63) as i64;
    i128 => u128, |n| n as u128 ^ 1 << 127, |n| (n ^ 1 << 127) as i128;
    f32 => u32, |n: f32| flip32(n.to_bits()), |n| f32::from_bits(unflip32(n));
    f64 => u64, |n: f64| flip64(n.to_bits()), |n| f64::from_bits(unflip64(n));
}

macro_rules! floats {
    ($($bits:ty, $flip:ident, $unflip:ident;)*) => {$(
        /// Bits of a float as bits that sort as `total_cmp` does.
        fn $flip(bits: $bits) -> $bits {
            const SIGN: $bits = 1 << (<$bits>::BITS - 1);
            if bits & SIGN == 0 { bits | SIGN } else { !bits }
        }

        fn $unflip(sorted: $bits) -> $bits {
            const SIGN: $bits = 1 << (<$bits>::BITS - 1);
            if sorted & SIGN == 0 { !sorted } else { sorted & !SIGN }
        }
    )*};
}

floats! {
    u32, flip32, unflip32;
    u64, flip64, unflip64;
}

impl Encode for bool {
    fn encode(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }
}

impl Key for bool {
    fn decode(from: &mut &[u8]) -> Option<Self> {
        match u8::decode(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, to: &mut Vec<u8>) {
        to.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.encode(to);
        }
    }
}

impl<T: Key> Key for Option<T> {
    fn decode(from: &mut &[u8]) -> Option<Self> {
        if bool::decode(from)? { T::decode(from).map(Some) } else { Some(None) }
    }
}

impl Encode for () {
    fn encode(&self, _: &mut Vec<u8>) {}
}

impl Key for () {
    fn decode(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

macro_rules! tuples {
    ($(($($part:ident $at:tt),*);)*) => {$(
        impl<$($part: Encode),*> Encode for ($($part,)*) {
            fn encode(&self, to: &mut Vec<u8>) {
                $(self.$at.encode(to);)*
            }
        }

        impl<$($part: Key),*> Key for ($($part,)*) {
            fn decode(from: &mut &[u8]) -> Option<Self> {
                Some(($($part::decode(from)?,)*))
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, D 3);
}
