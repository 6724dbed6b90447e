//! Owns what is tried of manifests: any bytes are a manifest, which is written as it was read, or an error.

use shared::bundle::Manifest;

use super::bundle::seal_manifest;

/// Reads a manifest as it is, and with a checksum that fits.
pub fn run(bytes: &[u8]) {
    for bytes in [bytes, &seal_manifest(bytes)] {
        let Ok(manifest) = Manifest::parse(bytes) else {
            continue;
        };
        let _ = manifest.total_bytes();
        let Ok(json) = manifest.to_json() else {
            continue;
        };
        match Manifest::parse(&json) {
            Ok(again) => assert_eq!(again.files, manifest.files),
            Err(error) => panic!("what was written is not read: {error}"),
        }
    }
}
