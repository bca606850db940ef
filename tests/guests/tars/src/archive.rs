//! Writes archives in the ustar format.

/// The two zero blocks at the end of an archive.
pub const END: [u8; 1024] = [0; 1024];

/// A file with its header and padding.
pub fn entry(name: &str, content: &str) -> Vec<u8> {
    let mut bytes = header(name, content.len() as u64).to_vec();
    bytes.extend_from_slice(content.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// The header of a file.
pub fn header(name: &str, size: u64) -> [u8; 512] {
    sealed(name, size, b'0', "")
}

/// A whole archive with a symbolic link in it.
pub fn link(name: &str, target: &str) -> Vec<u8> {
    [sealed(name, 0, b'2', target).as_slice(), &END].concat()
}

fn sealed(name: &str, size: u64, kind: u8, target: &str) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644");
    put(124, format!("{size:011o}").as_bytes());
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    put(148, b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
