//! Room on the disk: when it is nearly full, images that were pulled and that nothing is made of are
//! removed, those first that came first. What was imported by hand stays: nobody could bring it back.

use std::collections::BTreeSet;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Images, Result, while_doing};
use crate::agent::files;

/// From this part of the disk on, in percent, images are removed, and down to that.
const FULL_PERCENT: u64 = 85;
const ENOUGH_PERCENT: u64 = 80;
/// A pod that an image was pulled for may not have begun yet.
const YOUNG: SignedDuration = SignedDuration::from_mins(2);

/// What containers are made of, whether they run or not.
#[derive(Debug, Default)]
pub(in crate::agent) struct Used {
    /// Ids of images.
    pub(in crate::agent) images: BTreeSet<String>,
    pub(in crate::agent) layers: BTreeSet<String>,
}

impl Images {
    /// Removes what may be removed if the disk is nearly full, and returns the names of the images
    /// that were. Nothing may begin to use an image meanwhile. Blocks.
    ///
    /// # Errors
    /// Something cannot be read or removed.
    pub(in crate::agent) fn collect(&self, used: &Used, now: Timestamp) -> Result<Vec<String>> {
        self.collect_at(used, now, || self.disk_percent())
    }

    fn collect_at(
        &self,
        used: &Used,
        now: Timestamp,
        disk_percent: impl Fn() -> u64,
    ) -> Result<Vec<String>> {
        if disk_percent() < FULL_PERCENT {
            return Ok(Vec::new());
        }
        // Layers that are being unpacked belong to no image yet.
        let unpacking = self.unpacking()?;
        if unpacking.try_lock().is_err() {
            return Ok(Vec::new());
        }
        let _list = self.lock()?;
        let mut all = self.all()?;
        let is_old = |at: &Timestamp| now.duration_since(*at) >= YOUNG;
        let mut free: Vec<(Timestamp, String)> = all
            .iter()
            .filter(|(_, image)| !used.images.contains(&image.id))
            .filter_map(|(name, image)| Some((image.pulled_at.filter(is_old)?, name.clone())))
            .collect();
        free.sort();
        let mut removed = Vec::new();
        for (_, name) in free {
            if disk_percent() < ENOUGH_PERCENT {
                break;
            }
            all.remove(&name);
            // The list first: an image without its layers must not be found.
            self.write(&all)?;
            let kept = all.values().flat_map(|image| &image.layers);
            self.keep_layers(&kept.chain(&used.layers).collect())?;
            removed.push(name);
        }
        Ok(removed)
    }

    fn keep_layers(&self, kept: &BTreeSet<&String>) -> Result<()> {
        let removing = || while_doing("removing a layer");
        for entry in std::fs::read_dir(self.layers()).map_err(removing())?.flatten() {
            if kept.contains(&entry.file_name().to_string_lossy().into_owned()) {
                continue;
            }
            // Out of its place at once: half of a layer is none.
            let aside = self.incoming()?;
            std::fs::rename(entry.path(), aside.path().join("layer")).map_err(removing())?;
            files::remove_all(aside.path()).map_err(removing())?;
        }
        Ok(())
    }

    /// How much of the disk is taken, as `df` counts; 0 if that cannot be told.
    fn disk_percent(&self) -> u64 {
        let Ok(disk) = rustix::fs::statvfs(self.layers()) else { return 0 };
        let taken = disk.f_blocks.saturating_sub(disk.f_bfree);
        let all = taken + disk.f_bavail;
        if all == 0 { 0 } else { taken * 100 / all }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::agent::images::{Defaults, Unpacked};

    #[test]
    fn what_is_not_used_goes_as_far_as_room_is_wanted() {
        // Proves that nothing goes while there is room or while an image comes in; that the oldest
        // unused ones go first, with the layers that are theirs alone; and that what is used, new or
        // imported stays.
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let ago = |minutes| Some(now - SignedDuration::from_mins(minutes));
        let image = |name: &str, pulled_at, layers: &[&str]| {
            for layer in layers {
                std::fs::create_dir_all(images.layers().join(layer).join("etc")).unwrap();
            }
            let layers = layers.iter().map(ToString::to_string).collect();
            let defaults = Defaults::default();
            let image = Unpacked { id: format!("id-{name}"), layers, defaults, pulled_at };
            (format!("r/{name}:1").parse().unwrap(), image)
        };
        let all = [
            image("imported", None, &["base", "a"]),
            image("oldest", ago(9), &["base", "b"]),
            image("older", ago(8), &["c", "d"]),
            image("old", ago(7), &["e"]),
            image("used", ago(6), &["f"]),
            image("young", ago(1), &["g"]),
        ];
        images.add(all.into()).unwrap();
        let used = Used {
            images: ["id-used".into()].into(),
            // Of a container whose image has another name by now.
            layers: ["f".into(), "d".into()].into(),
        };
        let collect = |percent: &[u64]| {
            let asked = Cell::new(0);
            let percents = || {
                let at = asked.replace(asked.get() + 1);
                *percent.get(at).or(percent.last()).unwrap()
            };
            images.collect_at(&used, now, percents).unwrap()
        };
        assert!(collect(&[84]).is_empty());
        let incoming = images.unpacking().unwrap();
        incoming.lock_shared().unwrap();
        assert!(collect(&[99]).is_empty());
        drop(incoming);
        let short = |name: &str| format!("docker.io/r/{name}:1");
        assert_eq!(collect(&[99, 99, 90, 79]), [short("oldest"), short("older")]);
        let layers = || {
            let entries = std::fs::read_dir(images.layers()).unwrap().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join("")
        };
        assert_eq!(layers(), "abasedefg");
        assert_eq!(collect(&[99]), [short("old")]);
        assert_eq!(layers(), "abasedfg");
        assert_eq!(images.all().unwrap().len(), 3);
    }
}
