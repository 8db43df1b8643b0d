//! The preface and HELLO: what each side says first (docs/protocol.md, "HELLO").

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::error::{Fields, FrameError};
use crate::frame::head::{Flags, Head, Kind, checked_u16, checked_u32};
use crate::frame::text::kept;

/// The first eight bytes of each side.
pub const PREFACE: [u8; 8] = *b"PLANE\x00\x00\x01";

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;

/// What a side can do and how much it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The lowest version that the side speaks.
    pub version_min: u16,
    /// The highest version that the side speaks.
    pub version_max: u16,
    /// The largest message that it takes, in bytes.
    pub max_message: u64,
    /// The largest frame body that it takes, in bytes.
    pub max_frame: u32,
    /// What may be on its way to it and unread, for each call, in bytes.
    pub credit: u32,
    /// Calls that the other side may have in flight.
    pub max_calls: u32,
    /// After how long without a byte it asks for a sign of life.
    pub keepalive: Duration,
    /// Feature bits; none is defined in version 1.
    pub features: u64,
    /// Name and version of the implementation.
    pub agent: String,
}

/// What a side that leaves a field out is taken to have said.
impl Default for Hello {
    fn default() -> Self {
        Self {
            version_min: VERSION,
            version_max: VERSION,
            max_message: 32 << 20,
            max_frame: 256 << 10,
            credit: 1 << 20,
            max_calls: 512,
            keepalive: Duration::from_secs(10),
            features: 0,
            agent: String::new(),
        }
    }
}

/// The longest agent that is sent or kept, in bytes.
const MAX_AGENT: usize = 128;

/// Below this the longest status and the longest header block would not fit a frame.
const MIN_FRAME: u32 = 32 << 10;

/// Below this a sender could be stuck between two grants of half a window.
const MIN_CREDIT: u32 = 1024;

mod field {
    pub(super) const VERSION: u16 = 1;
    pub(super) const MAX_MESSAGE: u16 = 2;
    pub(super) const MAX_FRAME: u16 = 3;
    pub(super) const CREDIT: u16 = 4;
    pub(super) const MAX_CALLS: u16 = 5;
    pub(super) const KEEPALIVE: u16 = 6;
    pub(super) const FEATURES: u16 = 7;
    pub(super) const AGENT: u16 = 8;
}

impl Hello {
    /// Appends the preface and the HELLO frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        let mut put = |number: u16, value: &[u8]| {
            body.put_u16(number);
            body.put_u16(checked_u16(value.len()));
            body.put_slice(value);
        };
        let mut versions = [0; 4];
        versions[..2].copy_from_slice(&self.version_min.to_be_bytes());
        versions[2..].copy_from_slice(&self.version_max.to_be_bytes());
        put(field::VERSION, &versions);
        put(field::MAX_MESSAGE, &self.max_message.to_be_bytes());
        put(field::MAX_FRAME, &self.max_frame.to_be_bytes());
        put(field::CREDIT, &self.credit.to_be_bytes());
        put(field::MAX_CALLS, &self.max_calls.to_be_bytes());
        let keepalive = u32::try_from(self.keepalive.as_millis()).unwrap_or(u32::MAX);
        put(field::KEEPALIVE, &keepalive.to_be_bytes());
        put(field::FEATURES, &self.features.to_be_bytes());
        let agent = &self.agent.as_bytes()[..self.agent.floor_char_boundary(MAX_AGENT)];
        put(field::AGENT, agent);
        out.put_slice(&PREFACE);
        Head::new(Kind::HELLO, Flags::NONE, 0, checked_u32(body.len())).encode(out);
        out.put_slice(&body);
    }

    pub(super) fn load(body: &Bytes) -> Result<Self, FrameError> {
        let mut hello = Self::default();
        let mut fields = Fields::new(Kind::HELLO, body);
        let mut seen = 0_u16;
        while !fields.rest().is_empty() {
            let number = fields.u16()?;
            let length = usize::from(fields.u16()?);
            let mut value = Fields::new(Kind::HELLO, fields.bytes(length)?);
            // Fields that this version does not know may come as often as they like.
            if !(field::VERSION..=field::AGENT).contains(&number) {
                continue;
            }
            if seen & (1 << number) != 0 {
                return Err(fields.malformed("a field comes twice"));
            }
            seen |= 1 << number;
            hello.load_field(number, &mut value)?;
            value.done()?;
        }
        hello.check(&fields)
    }

    fn load_field(&mut self, number: u16, value: &mut Fields<'_>) -> Result<(), FrameError> {
        match number {
            field::VERSION => (self.version_min, self.version_max) = (value.u16()?, value.u16()?),
            field::MAX_MESSAGE => self.max_message = value.u64()?,
            field::MAX_FRAME => self.max_frame = value.u32()?,
            field::CREDIT => self.credit = value.u32()?,
            field::MAX_CALLS => self.max_calls = value.u32()?,
            field::KEEPALIVE => self.keepalive = Duration::from_millis(u64::from(value.u32()?)),
            field::FEATURES => self.features = value.u64()?,
            field::AGENT => {
                let agent = value.bytes(value.rest().len())?;
                self.agent = kept(agent, MAX_AGENT);
            }
            _ => {}
        }
        Ok(())
    }

    fn check(self, fields: &Fields<'_>) -> Result<Self, FrameError> {
        if self.version_min > VERSION || self.version_max < VERSION {
            let (theirs_min, theirs_max) = (self.version_min, self.version_max);
            return Err(FrameError::Version { ours: VERSION, theirs_min, theirs_max });
        }
        if self.max_frame < MIN_FRAME {
            return Err(fields.malformed("max_frame is below 32 KiB"));
        }
        if !(MIN_CREDIT..=i32::MAX.unsigned_abs()).contains(&self.credit) {
            return Err(fields.malformed("the credit is not between 1,024 bytes and 2 GiB"));
        }
        Ok(self)
    }
}
