//! Reads tracked files when they change. `inotify(7)`.

use std::fs::{File, OpenOptions};
use std::future::pending;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use lb_config::model::TrackFile;
use lb_node::track::file::parse;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::sleep;

use super::findings::Findings;
use crate::advertiser::Observation;

/// What cannot be watched is read so often.
const RETRY: Duration = Duration::from_secs(1);
/// A number has fewer bytes.
const LONGEST: u64 = 4096;

/// Writes the files that have an `init_file`; at the start of the daemon, never later.
pub(super) fn initialise(files: &[TrackFile]) {
    for file in files {
        if let Err(error) = write(file) {
            tracing::error!("track_file {}: cannot write {}: {error}", file.name, file.path);
        }
    }
}

/// Writes a regular file, and nothing by way of a symbolic link, which somebody else may have put there.
fn write(file: &TrackFile) -> io::Result<()> {
    let Some(init) = file.init else { return Ok(()) };
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    if init.overwrite {
        options.create(true);
    } else {
        options.create_new(true);
    }
    match options.open(&file.path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            Err(io::Error::other("it is a symbolic link"))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Err(irregular()),
        opened => {
            let mut opened = regular(opened?)?;
            opened.set_len(0)?;
            writeln!(opened, "{}", init.value)
        }
    }
}

/// An open file, if it is a regular one.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

fn irregular() -> io::Error {
    io::Error::other("it is no regular file")
}

/// Reports what every file says, at once and whenever that changes, until `wanted` is closed.
///
/// # Errors
/// The kernel has no inotify for us.
pub(super) fn start(
    wanted: watch::Receiver<Vec<TrackFile>>,
    results: Findings,
) -> io::Result<impl Future<Output = ()>> {
    let mut files = Files {
        inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
        watched: Vec::new(),
        results,
    };
    files.apply(&wanted.borrow());
    let readable = super::readable::watch(files.inotify.as_fd())?;
    Ok(files.follow(readable, wanted))
}

struct Files {
    inotify: Inotify,
    watched: Vec<Watched>,
    results: Findings,
}

/// A file that is followed.
struct Watched {
    definition: TrackFile,
    /// On its directory, where it comes and goes; `None` while there is no such directory.
    directory: Option<WatchDescriptor>,
    /// On the file itself, which may be elsewhere if this is a link to it.
    file: Option<WatchDescriptor>,
    /// What was reported last.
    value: Option<i32>,
}

impl Watched {
    fn new(definition: TrackFile) -> Self {
        Self { definition, directory: None, file: None, value: None }
    }

    fn path(&self) -> &Path {
        Path::new(&self.definition.path)
    }

    /// Puts watches where there are none. The directory's comes first, so that nothing is missed.
    fn watch(&mut self, inotify: &Inotify) {
        let parent = self.path().parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        if self.directory.is_none() {
            let parent = parent.unwrap_or(Path::new("."));
            self.directory = inotify.add_watch(parent, directory).ok();
        }
        let file = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB;
        self.file = inotify.add_watch(self.path(), file).ok();
    }

    fn is_meant(&self, event: &InotifyEvent) -> bool {
        let name = event.name.as_deref();
        Some(event.wd) == self.file
            || Some(event.wd) == self.directory
                && name.is_none_or(|name| self.path().file_name() == Some(name))
    }

    /// Reads the file; its number if that is to be reported.
    fn read(&mut self) -> Option<i32> {
        let path = self.path();
        let value = match read(path) {
            Ok(text) => parse(&text).or_else(|| {
                let text = String::from_utf8_lossy(&text);
                let path = path.display();
                tracing::warn!("Invalid number {} read from {path} - ignoring", text.trim());
                // Ignored is what comes after a number that is known.
                self.value.is_none().then_some(0)
            })?,
            Err(error) => {
                if self.value != Some(0) && error.kind() != ErrorKind::NotFound {
                    tracing::warn!("cannot read {}: {error}; that counts as 0", path.display());
                }
                0
            }
        };
        let changed = self.value.replace(value) != Some(value);
        changed.then_some(value)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe without a writer must not keep us.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut text = Vec::new();
    regular(file)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

impl Files {
    async fn follow(
        mut self,
        readable: AsyncFd<OwnedFd>,
        mut wanted: watch::Receiver<Vec<TrackFile>>,
    ) {
        loop {
            let unwatched = self.watched.iter().any(|file| file.directory.is_none());
            let retry = async { if unwatched { sleep(RETRY).await } else { pending().await } };
            tokio::select! {
                ready = readable.readable() => {
                    let Ok(mut ready) = ready else { return }; // the runtime ends
                    if self.drain() {
                        ready.clear_ready();
                    }
                }
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return; // the supervisor has ended
                    }
                    let wanted = wanted.borrow_and_update().clone();
                    self.apply(&wanted);
                }
                () = retry => self.read(|file| file.directory.is_none()),
            }
        }
    }

    /// Makes the files those that are wanted; unchanged ones keep their watches.
    fn apply(&mut self, wanted: &[TrackFile]) {
        let mut old = mem::take(&mut self.watched);
        for definition in wanted {
            let same = |file: &Watched| {
                (&file.definition.name, &file.definition.path)
                    == (&definition.name, &definition.path)
            };
            match old.iter().position(same) {
                Some(index) => self.watched.push(old.swap_remove(index)),
                None => self.watched.push(Watched::new(definition.clone())),
            }
        }
        for gone in old {
            self.unwatch(gone.directory);
            self.unwatch(gone.file);
        }
        self.read(|file| file.value.is_none());
    }

    /// Reads what `which` says, and reports what has changed.
    fn read(&mut self, which: impl Fn(&Watched) -> bool) {
        let mut replaced = Vec::new();
        for file in self.watched.iter_mut().filter(|file| which(file)) {
            let before = file.file;
            file.watch(&self.inotify);
            if file.file != before {
                replaced.push(before);
            }
            if let Some(value) = file.read() {
                let name = file.definition.name.clone();
                // The supervisor may have ended.
                self.results.put(Observation::File { name, value });
            }
        }
        replaced.into_iter().for_each(|watch| self.unwatch(watch));
    }

    /// Takes a watch away unless somebody else needs it. The kernel may have done so already.
    fn unwatch(&self, watch: Option<WatchDescriptor>) {
        let needed = |file: &Watched| file.directory == watch || file.file == watch;
        if let Some(watch) = watch.filter(|_| !self.watched.iter().any(needed)) {
            let _ = self.inotify.rm_watch(watch);
        }
    }

    /// Takes what waits. Whether that was all.
    fn drain(&mut self) -> bool {
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => return true,
            Err(errno) => {
                tracing::error!("cannot follow tracked files: {errno}");
                return true;
            }
        };
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.read(|_| true);
                continue;
            }
            let meant: Vec<bool> = self.watched.iter().map(|file| file.is_meant(&event)).collect();
            if event.mask.contains(AddWatchFlags::IN_MOVE_SELF) {
                // Its name is free for another directory; the kernel confirms with `IN_IGNORED`.
                let _ = self.inotify.rm_watch(event.wd);
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                for file in &mut self.watched {
                    // The directory is gone, or the file, and another one may have its name.
                    file.directory.take_if(|watch| *watch == event.wd);
                    file.file.take_if(|watch| *watch == event.wd);
                }
            }
            let paths: Vec<String> = (self.watched.iter().zip(meant))
                .filter(|(_, meant)| *meant)
                .map(|(file, _)| file.definition.path.clone())
                .collect();
            self.read(|file| paths.contains(&file.definition.path));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lb_config::model::InitFile;
    use tempfile::TempDir;

    use super::*;

    fn definition(path: &Path) -> TrackFile {
        let path = path.to_str().unwrap().to_owned();
        TrackFile { name: "f".into(), path, weight: 1, reverse: false, init: None }
    }

    /// A task that follows `f` in a directory, and what it reports.
    struct Scene {
        dir: TempDir,
        wanted: watch::Sender<Vec<TrackFile>>,
        results: Findings,
    }

    impl Scene {
        fn new(path: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (wanted, receiver) = watch::channel(vec![definition(&dir.path().join(path))]);
            let results = Findings::default();
            tokio::spawn(start(receiver, results.clone()).unwrap());
            Self { dir, wanted, results }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join(name), text).unwrap();
        }

        /// The next value that is reported.
        async fn value(&mut self) -> i32 {
            match self.results.next().await {
                Observation::File { name, value } if name == "f" => value,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_file_counts_from_its_making_to_its_removal() {
        let mut scene = Scene::new("f");
        // Known before the task runs.
        assert_eq!(scene.results.take(), {
            Some(Observation::File { name: "f".into(), value: 0 })
        });
        scene.write("f", "7\n");
        assert_eq!(scene.value().await, 7);
        scene.write("f", "99999999999\n");
        scene.write("other", "5\n");
        fs::rename(scene.dir.path().join("other"), scene.dir.path().join("f")).unwrap();
        assert_eq!(scene.value().await, 5);
        // Another file of that name is watched like the first one.
        OpenOptions::new()
            .append(true)
            .open(scene.dir.path().join("f"))
            .unwrap()
            .set_len(0)
            .unwrap();
        assert_eq!(scene.value().await, 0);
        scene.write("f", "3");
        assert_eq!(scene.value().await, 3);
        fs::remove_file(scene.dir.path().join("f")).unwrap();
        assert_eq!(scene.value().await, 0);
    }

    #[tokio::test]
    async fn a_link_is_followed_to_where_it_leads() {
        let mut scene = Scene::new("f");
        assert_eq!(scene.value().await, 0);
        fs::create_dir(scene.dir.path().join("elsewhere")).unwrap();
        scene.write("elsewhere/real", "4");
        let link = scene.dir.path().join("f");
        std::os::unix::fs::symlink("elsewhere/real", link).unwrap();
        assert_eq!(scene.value().await, 4);
        scene.write("elsewhere/real", "6");
        // Its reader may see the moment between emptying and writing.
        while scene.value().await != 6 {}
    }

    #[tokio::test]
    async fn a_directory_may_come_later_and_go() {
        let mut scene = Scene::new("later/f");
        assert_eq!(scene.value().await, 0);
        fs::create_dir(scene.dir.path().join("later")).unwrap();
        scene.write("later/f", "2");
        assert_eq!(scene.value().await, 2);
        fs::rename(scene.dir.path().join("later"), scene.dir.path().join("gone")).unwrap();
        assert_eq!(scene.value().await, 0);
        fs::create_dir(scene.dir.path().join("later")).unwrap();
        scene.write("later/f", "3");
        assert_eq!(scene.value().await, 3);
    }

    #[tokio::test]
    async fn another_list_reports_what_is_new_in_it() {
        let mut scene = Scene::new("f");
        assert_eq!(scene.value().await, 0);
        let mut both = scene.wanted.borrow().clone();
        scene.write("g", "9");
        both.push(TrackFile { name: "g".into(), ..definition(&scene.dir.path().join("g")) });
        scene.wanted.send(both.clone()).unwrap();
        let g = |value| Observation::File { name: "g".into(), value };
        assert_eq!(scene.results.next().await, g(9));
        scene.wanted.send(both.split_off(1)).unwrap();
        scene.write("g", "8");
        assert_eq!(scene.results.next().await, g(8));
    }

    #[test]
    fn init_file_makes_a_file_and_overwrites_one_if_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let says = |value, overwrite| {
            let init = Some(InitFile { value, overwrite });
            initialise(&[TrackFile { init, ..definition(&path) }]);
            fs::read_to_string(&path).unwrap()
        };
        assert_eq!(says(5, false), "5\n");
        assert_eq!(says(6, false), "5\n");
        assert_eq!(says(-7, true), "-7\n");
    }

    #[test]
    fn init_file_writes_neither_by_a_link_nor_into_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let [victim, link, pipe] = ["victim", "link", "pipe"].map(|name| dir.path().join(name));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let init = Some(InitFile { value: 1, overwrite: true });
        let refusal =
            |path: &Path| write(&TrackFile { init, ..definition(path) }).unwrap_err().to_string();
        assert_eq!(refusal(&link), "it is a symbolic link");
        assert_eq!(refusal(&pipe), "it is no regular file");
        // One that somebody reads is none either.
        let _reader =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
        assert_eq!(refusal(&pipe), "it is no regular file");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(read(&pipe).unwrap_err().to_string().contains("no regular file"));
    }
}
