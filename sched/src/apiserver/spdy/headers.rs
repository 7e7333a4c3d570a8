//! Blocks of headers: names and values, deflated as one stream over the whole connection.

use std::io;
use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Names in small letters, and values.
pub(in super::super) type Headers = Vec<(String, String)>;

/// A block once it is inflated: a few words are expected.
const BLOCK_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: u32 = 64;

/// What zlib calls the dictionary: its Adler-32.
const DICTIONARY_ID: u32 = 0xe3c6_a7c2;
/// The beginning of the dictionary: each word after its length in four bytes.
const WORDS: &str = "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,\
    accept-language,accept-ranges,age,allow,authorization,cache-control,connection,content-base,\
    content-encoding,content-language,content-length,content-location,content-md5,content-range,\
    content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,\
    if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,\
    proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,\
    user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,\
    public,set-cookie,keep-alive,origin";
/// Its end.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416\
    417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request\
    401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented\
    503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 \
    Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=\
    gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// What both sides have in mind before the first byte.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS.split(',') {
        bytes.extend(length(word).to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TEXT.as_bytes());
    bytes
});

fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("SPDY headers: {what}"))
}

/// Reads the blocks of one connection, in their order.
pub(super) struct Inflate {
    /// Without zlib's own header, which is read here: not every inflater takes a dictionary.
    stream: Decompress,
    has_begun: bool,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), has_begun: false }
    }

    /// # Errors
    /// It is no block, or larger than any that is expected. What follows cannot be read then.
    pub(super) fn read(&mut self, mut block: &[u8]) -> io::Result<Headers> {
        if !self.has_begun {
            block = self.begin(block)?;
            self.has_begun = true;
        }
        parse(&self.inflate(block)?)
    }

    /// Reads zlib's header, and takes the dictionary to heart if it asks for it.
    fn begin<'a>(&mut self, block: &'a [u8]) -> io::Result<&'a [u8]> {
        const DEFLATE: u8 = 8;
        const WANTS_DICTIONARY: u8 = 0x20;
        let (&[method, flags], rest) =
            block.split_first_chunk().ok_or_else(|| bad("they are cut off"))?;
        if method & 0xf != DEFLATE || u16::from_be_bytes([method, flags]) % 31 != 0 {
            return Err(bad("they are not deflated"));
        }
        if flags & WANTS_DICTIONARY == 0 {
            return Ok(rest);
        }
        let (id, rest) = rest.split_first_chunk().ok_or_else(|| bad("they are cut off"))?;
        if u32::from_be_bytes(*id) != DICTIONARY_ID {
            return Err(bad("their dictionary is not that of SPDY/3"));
        }
        self.inflate(&stored(&DICTIONARY))?;
        Ok(rest)
    }

    fn inflate(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(BLOCK_BYTES_MAX + 1);
        let (mut rest, mut before) = (block, 0);
        loop {
            let taken = self.stream.total_in();
            let done = self.stream.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            done.map_err(|error| bad(&error.to_string()))?;
            let taken = usize::try_from(self.stream.total_in() - taken).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            if out.len() > BLOCK_BYTES_MAX {
                return Err(bad("they are too long"));
            }
            // Neither taken nor given: that was all.
            if taken == 0 && out.len() == before {
                return if rest.is_empty() {
                    Ok(out)
                } else {
                    Err(bad("they go on after their end"))
                };
            }
            before = out.len();
        }
    }
}

/// Bytes as a block of deflate that is not compressed. What was inflated before is what later bytes
/// may refer to: so an inflater that is given this knows the dictionary.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut block = vec![0];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(bytes);
    block
}

fn parse(mut bytes: &[u8]) -> io::Result<Headers> {
    let count = number(&mut bytes)?;
    if count > HEADERS_MAX {
        return Err(bad("there are too many"));
    }
    let headers: io::Result<Headers> =
        (0..count).map(|_| Ok((text(&mut bytes)?, text(&mut bytes)?))).collect();
    if bytes.is_empty() { headers } else { Err(bad("there are more than they say")) }
}

fn number(bytes: &mut &[u8]) -> io::Result<u32> {
    let (number, rest) = bytes.split_first_chunk().ok_or_else(|| bad("they are cut off"))?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*number))
}

fn text(bytes: &mut &[u8]) -> io::Result<String> {
    let length = usize::try_from(number(bytes)?).unwrap_or(usize::MAX);
    let (text, rest) = bytes.split_at_checked(length).ok_or_else(|| bad("they are cut off"))?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| bad("they are not UTF-8"))
}

/// Writes the blocks of one connection. It has no need of the dictionary, and nobody has to use it.
pub(super) struct Deflate {
    stream: Compress,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self { stream: Compress::new(Compression::fast(), true) }
    }

    /// # Errors
    /// Never, as far as is known: the compressor's own.
    pub(super) fn write(&mut self, headers: &Headers) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        plain.extend(u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(length(text).to_be_bytes());
            plain.extend(text.as_bytes());
        }
        // What does not shrink grows by a few bytes for each 16 KiB, and by the end of the block.
        let mut out = Vec::with_capacity(plain.len() + plain.len() / 8 + 64);
        self.stream.compress_vec(&plain, &mut out, FlushCompress::Sync)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two blocks as zlib itself makes them with the dictionary, of one stream: for
    /// `streamtype: error` and `streamtype: stdin`.
    const BY_ZLIB: [&str; 2] = [
        "78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff",
        "c22e555c02cc2e00000000ffff",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn stream_type(value: &str) -> Headers {
        vec![("streamtype".to_owned(), value.to_owned())]
    }

    #[test]
    fn the_dictionary_is_the_protocols() {
        // Proves by the sum that zlib names it by that no byte of the dictionary is another one.
        let (mut a, mut b) = (1_u32, 0_u32);
        for &byte in DICTIONARY.iter() {
            a = (a + u32::from(byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!((DICTIONARY.len(), b << 16 | a), (1423, DICTIONARY_ID));
    }

    #[test]
    fn blocks_of_zlib_are_read_one_after_the_other() {
        // Proves that the dictionary is used, and that a block refers to those before it.
        let mut inflate = Inflate::new();
        assert_eq!(inflate.read(&bytes(BY_ZLIB[0])).unwrap(), stream_type("error"));
        assert_eq!(inflate.read(&bytes(BY_ZLIB[1])).unwrap(), stream_type("stdin"));
        // The second one alone is no beginning.
        assert!(Inflate::new().read(&bytes(BY_ZLIB[1])).is_err());
    }

    #[test]
    fn what_would_grow_too_long_is_refused() {
        // Proves the bounds on what a small block may become: its length, and the count of headers.
        let long = vec![("a".to_owned(), "b".repeat(BLOCK_BYTES_MAX))];
        let block = Deflate::new().write(&long).unwrap();
        assert!(block.len() < 200, "{}", block.len());
        assert!(Inflate::new().read(&block).unwrap_err().to_string().contains("too long"));
        let many = vec![(String::new(), String::new()); HEADERS_MAX as usize + 1];
        let block = Deflate::new().write(&many).unwrap();
        assert!(Inflate::new().read(&block).unwrap_err().to_string().contains("too many"));
    }
}
