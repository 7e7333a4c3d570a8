//! Random lives of a log, with power failures between, against the model.

use super::harness::{Op, Rig, read_all, small_options};
use crate::vfs::{CrashFs, CrashRule};
use crate::wal::recover_arbitrary;
use proptest::prelude::*;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => prop::collection::vec(0..700_usize, 0..5).prop_map(Op::Append),
        1 => (0..3_u64).prop_map(Op::Jump),
        1 => any::<u8>().prop_map(Op::Vote),
        1 => (0..6_u64).prop_map(Op::Truncate),
        1 => (0..14_u64).prop_map(Op::Purge),
        3 => Just(Op::Write),
    ]
}

fn rule() -> impl Strategy<Value = CrashRule> {
    prop_oneof![
        Just(CrashRule::DropAll),
        Just(CrashRule::KeepAll),
        (0..4_usize, 0..5_usize)
            .prop_map(|(changes, sectors)| CrashRule::KeepPrefix { changes, sectors }),
        any::<u64>().prop_map(|seed| CrashRule::Tear { seed }),
    ]
}

/// What happens between two openings, and how it ends.
fn life() -> impl Strategy<Value = (Vec<Op>, Option<u64>, CrashRule)> {
    (prop::collection::vec(op(), 0..40), prop::option::of(0..60_u64), rule())
}

proptest! {
    #[test]
    fn any_life_with_power_failures_matches_the_model(
        lives in prop::collection::vec(life(), 1..6),
        seed in any::<u64>(),
    ) {
        // Proves: in any order of operations and failures, reads show exactly what was accepted, and
        // each recovery finds a state between acknowledged and submitted.
        let mut fs = CrashFs::new();
        let options = |nth: usize| {
            let mut options = small_options();
            options.salt_seed = seed.wrapping_add(nth as u64);
            options
        };
        let (mut rig, _) = Rig::open(&fs, options(0)).unwrap();
        for (nth, (ops, halt_after, rule)) in lives.iter().enumerate() {
            if let Some(after) = halt_after {
                fs.halt_at(fs.operations() + after);
            }
            for op in ops {
                rig.apply(op);
                if rig.ended.is_some() {
                    break;
                }
                prop_assert_eq!(&read_all(&rig.wal), &rig.model.entries);
                prop_assert_eq!(rig.wal.first_index(), rig.model.first);
                prop_assert_eq!(rig.wal.next_index(), rig.model.next);
            }
            rig.write();
            let after = fs.crash(*rule);
            let recovered = rig.recover(&after, options(nth + 1));
            prop_assert!(recovered.is_ok(), "{}", recovered.err().unwrap_or_default());
            (rig, fs) = (recovered.unwrap(), after);
        }
    }

    #[test]
    fn recovery_from_arbitrary_bytes_answers_or_refuses(
        data in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        // Proves: no bytes make recovery panic, and what it answers stays so.
        recover_arbitrary(&data);
    }

    #[test]
    fn recovery_from_damaged_scripts_answers_or_refuses(
        records in prop::collection::vec((0..8_u8, any::<bool>(), 0..12_u8, any::<u8>()), 0..30),
        damage in prop::collection::vec(any::<[u8; 3]>(), 0..3),
    ) {
        // Proves: the same for records whose checks are right, in an order no log would write.
        let mut data = vec![1, u8::try_from(records.len()).unwrap()];
        for (kind, begins_write, index, len) in records {
            data.extend([kind | u8::from(begins_write) << 7, index, len % 9, len]);
        }
        data.extend(damage.concat());
        recover_arbitrary(&data);
    }
}
