// Owns the limits that are held before anything is read or drawn. shared/src/limits.rs has all of them, with the reasons;
// a test holds these equal.

/** The largest picture's file, in bytes. @internal */
export const PICTURE_BYTES = 64_000_000;
/** The most pixels of a picture. @internal */
export const PIXELS = 64_000_000;
