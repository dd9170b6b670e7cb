//! Both ways from a path to a handle, side by side: in random trees full of links they find the same.
#![cfg(test)]

use std::{fs, os::unix::fs::symlink, path::Path};

use agentx_provider_local::{LocalFileSystem, Resolution};
use agentx_resource::{
    ErrorKind, FileKind, FileSystem, FileSystemExt, MkdirOptions, ResourcePath, StatOptions,
};

/// A sequence of numbers that is the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A few names, `first` of them being possible in front.
    fn path(&mut self, names: &[&str]) -> String {
        let count = 1 + self.below(4);
        (0..count).map(|_| self.pick(names)).collect::<Vec<_>>().join("/")
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Directories, files and links in all directions, two levels deep.
fn plant(root: &Path, dice: &mut Dice) {
    const STEPS: [&str; 8] = ["a", "b", "c", "d", "..", "..", ".", "in"];
    let mut dirs = vec![root.to_owned()];
    for _ in 0..12 {
        let place = dirs[dice.below(dirs.len())].join(dice.pick(&NAMES));
        match dice.below(6) {
            0 | 1 => {
                if fs::create_dir(&place).is_ok() {
                    dirs.push(place);
                }
            }
            2 => {
                let _ = fs::write(&place, place.as_os_str().as_encoded_bytes());
            }
            3 => {
                let _ = symlink(root.join(dice.path(&STEPS)), &place);
            }
            _ => {
                let _ = symlink(dice.path(&STEPS), &place);
            }
        }
    }
}

#[tokio::test]
async fn both_ways_find_the_same() {
    let (mut found, mut escaped, mut missing, mut looped, mut links) = (0, 0, 0, 0, 0);
    for seed in 1..=150 {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("in");
        fs::create_dir(&root).unwrap();
        for outside in NAMES {
            fs::write(dir.path().join(outside), "outside").unwrap();
        }
        let mut dice = Dice(seed * 0x9E37_79B9);
        plant(&root, &mut dice);
        let [kernel, walk] =
            [Resolution::Kernel, Resolution::Walk].map(|way| LocalFileSystem::open_with(&root, way).unwrap());
        for _ in 0..60 {
            let path = ResourcePath::new(format!("/{}", dice.path(&NAMES))).unwrap();
            let stat = [kernel.metadata(&path).await, walk.metadata(&path).await]
                .map(|stat| stat.map_err(|e| e.kind()));
            assert_eq!(stat[0], stat[1], "stat {path}, seed {seed}");
            let own = StatOptions::no_follow();
            let look = [kernel.stat(&path, own.clone()).await, walk.stat(&path, own).await]
                .map(|stat| stat.map_err(|e| e.kind()));
            assert_eq!(look[0], look[1], "look at {path}, seed {seed}");
            if let Ok(entry) = &look[0] {
                assert_eq!(
                    entry.kind == FileKind::Symlink,
                    entry.link_target.is_some(),
                    "{path}, seed {seed}"
                );
                links += usize::from(entry.link_target.is_some());
            }
            match &stat[0] {
                Ok(_) => found += 1,
                Err(ErrorKind::Escapes) => escaped += 1,
                Err(ErrorKind::NotFound) => missing += 1,
                Err(ErrorKind::InvalidPath) => looped += 1,
                Err(other) => panic!("{other:?} of {path}, seed {seed}"),
            }
            let read = [kernel.read_file(&path).await, walk.read_file(&path).await];
            let [kernel_read, walk_read] = read.map(|read| read.map_err(|error| error.kind()));
            assert_eq!(kernel_read, walk_read, "read {path}, seed {seed}");
            assert!(kernel_read.is_err() || kernel_read.unwrap() != "outside", "{path}, seed {seed}");
            let listed = [kernel.readdir(&path).await, walk.readdir(&path).await];
            let [kernel_list, walk_list] = listed.map(|listed| listed.map_err(|error| error.kind()));
            assert_eq!(kernel_list, walk_list, "list {path}, seed {seed}");
        }
    }
    assert!(
        found > 500 && escaped > 500 && missing > 500 && looped > 50 && links > 500,
        "{found} {escaped} {missing} {looped} {links}"
    );
}

#[tokio::test]
async fn a_walk_ends_at_the_same_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(255);
    for way in [Resolution::Kernel, Resolution::Walk] {
        let fs = LocalFileSystem::open_with(dir.path(), way).unwrap();
        let mut path = ResourcePath::root();
        for _ in 0..15 {
            path = path.join(&long).unwrap();
            fs.mkdir(&path, MkdirOptions::recursive()).await.unwrap();
        }
        assert!(fs.metadata(&path).await.unwrap().is_dir());
        // Forty links in a row are followed, and no more.
        for index in 0..41 {
            let _ = symlink(format!("link{}", index + 1), dir.path().join(format!("link{index}")));
        }
        let _ = fs::write(dir.path().join("link41"), "end");
        assert_eq!(fs.read_to_string(&ResourcePath::new("/link1").unwrap()).await.unwrap(), "end");
        let error = fs.metadata(&ResourcePath::new("/link0").unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPath, "{way:?}");
    }
}
