//! Bounds that are part of the contract: a client may rely on them, a gateway never raises them.

/// Largest frame a client may send, bytes. Announced in `hello.limits`.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Largest `body` of a message, bytes of its JSON text.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest `cid`, bytes.
pub const CID_BYTES_MAX: usize = 64;
/// Deepest nesting of objects and arrays in a command or in the body of a request.
pub const DEPTH_MAX: usize = 16;
/// Most keys in a command's own object, or a body's. More is `bad_request`: duplicates are searched among them.
pub const COMMAND_KEYS_MAX: usize = 32;
/// Longest room name, bytes, namespace and colon included.
pub const ROOM_BYTES_MAX: usize = 128;
/// Longest user id, bytes.
pub const USER_ID_BYTES_MAX: usize = 64;
/// Longest device id, bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 128;
/// Longest device name, characters after normalisation.
pub const DEVICE_NAME_CHARS_MAX: usize = 64;
/// Longest display name, characters after normalisation.
pub const NAME_CHARS_MAX: usize = 64;
/// Longest avatar address, bytes; `https` only.
pub const AVATAR_BYTES_MAX: usize = 512;
/// Longest password, bytes. Shortest is [`PASSWORD_BYTES_MIN`].
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Shortest password, bytes (NIST SP 800-63B).
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Most messages a `join` replays and calls recovered.
pub const RECOVERY_MESSAGES_MAX: usize = 100;
/// Most bytes of message bodies a `join` replays and calls recovered.
pub const RECOVERY_BYTES_MAX: usize = 128 * 1024;
/// Most messages in one `history` reply.
pub const HISTORY_PAGE_MAX: usize = 100;
/// Most members in one `members` reply.
pub const MEMBERS_PAGE_MAX: usize = 100;
/// Body of an HTTP request, bytes.
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;
