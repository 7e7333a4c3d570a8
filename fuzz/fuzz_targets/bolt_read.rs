//! Reading a database of bbolt must end for any bytes, and never panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/bolt/mod.rs"]
mod bolt;

fuzz_target!(|data: &[u8]| {
    let Ok(db) = bolt::Db::open(data, data.len() as u64) else { return };
    let mut buckets = Vec::new();
    let _ = db.buckets(|_, bucket| {
        buckets.push(bucket);
        Ok(())
    });
    for bucket in &buckets {
        let _ = db.each(bucket, |_, _| Ok(()));
    }
});
