//! The 16 bytes in front of every frame (docs/protocol.md, "Frame").

use std::fmt;

use bytes::{BufMut, BytesMut};

/// The length of a head in bytes.
pub const HEAD_LEN: usize = 16;

/// What a frame is. Keeps numbers that this version does not know.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, flags $flags:expr;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }

            /// The flags that a frame of this kind may carry; `None` for a kind that this version does not know.
            #[must_use]
            pub fn flags(self) -> Option<Flags> {
                match self.0 { $($number => Some(Flags($flags)),)* _ => None }
            }
        }
    };
}

kinds! {
    /// What the sender can do; the first frame of each side and never again.
    HELLO = 0x01, flags 0;
    /// Starts a call.
    OPEN = 0x02, flags Flags::END.0 | Flags::MORE.0 | Flags::NO_MESSAGE.0;
    /// A message or a chunk of one.
    MESSAGE = 0x03, flags Flags::END.0 | Flags::MORE.0;
    /// Ends a direction of a call: the answer with its status, or the request in order.
    END = 0x04, flags Flags::NOT_EXECUTED.0;
    /// The handler was started.
    ACCEPT = 0x05, flags 0;
    /// The answer has begun; its headers.
    HEADERS = 0x06, flags 0;
    /// The caller asks for an early end, or is gone.
    CANCEL = 0x07, flags 0;
    /// The receiver of messages can take more of them.
    CREDIT = 0x08, flags 0;
    /// Asks for a sign of life.
    PING = 0x09, flags 0;
    /// The sign of life.
    PONG = 0x0a, flags 0;
    /// No calls after the one named here are taken on.
    GOAWAY = 0x0b, flags 0;
}

impl Kind {
    /// Whether a receiver that does not know the kind skips the frame.
    #[must_use]
    pub fn may_be_skipped(self) -> bool {
        self.0 >= 0x80
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "KIND_{:#04x}", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The flag bits of a head.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// OPEN and MESSAGE: this message is the only one of its direction.
    pub const END: Self = Self(0x01);
    /// OPEN and MESSAGE: this message goes on in the next MESSAGE of the call.
    pub const MORE: Self = Self(0x02);
    /// OPEN: the frame carries no message; messages may follow.
    pub const NO_MESSAGE: Self = Self(0x04);
    /// END: no handler was started.
    pub const NOT_EXECUTED: Self = Self(0x08);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `other` if `condition` holds, else none.
    #[must_use]
    pub fn when(condition: bool, other: Self) -> Self {
        if condition { other } else { Self::NONE }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#04x})", self.0)
    }
}

/// The 16 bytes in front of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the body that follows.
    pub length: u32,
    /// What the frame is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// Two bytes that must be zero in this version.
    pub zero: u16,
    /// The call that it belongs to; 0 for frames of the connection.
    pub call: u64,
}

impl Head {
    /// A head with these fields.
    #[must_use]
    pub fn new(kind: Kind, flags: Flags, call: u64, length: u32) -> Self {
        Self { length, kind, flags, zero: 0, call }
    }

    /// Appends the head.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut bytes = [0; HEAD_LEN];
        bytes[0..4].copy_from_slice(&self.length.to_be_bytes());
        bytes[4] = self.kind.0;
        bytes[5] = self.flags.0;
        bytes[6..8].copy_from_slice(&self.zero.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.call.to_be_bytes());
        out.put_slice(&bytes);
    }

    /// The head at the beginning of `bytes`, or `None` if there are fewer than 16.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_LEN] = bytes.first_chunk()?;
        let [l0, l1, l2, l3, kind, flags, z0, z1, call @ ..] = *bytes;
        Some(Self {
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            kind: Kind(kind),
            flags: Flags(flags),
            zero: u16::from_be_bytes([z0, z1]),
            call: u64::from_be_bytes(call),
        })
    }
}

/// A length that was checked against a limit below 4 GiB when the message or block was taken on.
pub(crate) fn checked_u32(length: usize) -> u32 {
    u32::try_from(length).expect("lengths are checked against limits below 4 GiB")
}

/// A length that was checked against a limit below 64 KiB when the text or block was taken on.
pub(crate) fn checked_u16(length: usize) -> u16 {
    u16::try_from(length).expect("lengths are checked against limits below 64 KiB")
}
