use super::*;

#[test]
fn revisions_are_written_as_etcd_writes_them() {
    // Shows the key of a put and of a deletion, that they sort as they happened, and what is none.
    let put = encode_revision(Revision::new(258, 1), false);
    assert_eq!(put, b"\x00\x00\x00\x00\x00\x00\x01\x02_\x00\x00\x00\x00\x00\x00\x00\x01");
    let deleted = encode_revision(Revision::new(258, 2), true);
    assert!(put < deleted && deleted.ends_with(b"t"));
    assert_eq!(decode_revision(&put), Some((Revision::new(258, 1), false)));
    assert_eq!(decode_revision(&deleted), Some((Revision::new(258, 2), true)));
    let negative = encode_revision(Revision::new(-1, 0), false);
    for wrong in [&put[..16], b"", &[&put[..], b"x"].concat(), &negative] {
        assert_eq!(decode_revision(wrong), None);
    }
}
