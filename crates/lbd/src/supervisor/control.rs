//! The control socket: answers `lbctl`, whoever else connects and whatever they send.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_config::Model;
use lb_control::status::Transition;
use lb_control::{PROTOCOL_VERSION, Request, RequestBody, Response, ResponseBody, Status};
use nix::unistd::{Group, Uid, User};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::pidfile::make_directory;

/// Connections of others than root served at one time; more are told so and closed.
const CONNECTIONS: usize = 32;
/// The same of one user.
const CONNECTIONS_OF_USER: usize = 8;
/// Places kept for root, whoever else comes.
const CONNECTIONS_OF_ROOT: usize = 16;
/// From one answer to the next for others than root, on one connection.
const PACE: Duration = Duration::from_millis(50);
/// Others than root get a status that was asked of the engines for one of them at most so long ago.
const STATUS_AGE: Duration = Duration::from_millis(250);
/// The longest request, in octets.
const LONGEST: u64 = 64 * 1024;
/// How long a client may take for a line, or to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Members of this group may ask, if it exists; else those of root's.
const GROUP: &str = "lbd";

/// What a client wants of the supervisor, and where the answer goes.
#[derive(Debug)]
pub enum Command {
    /// The whole status.
    Status(oneshot::Sender<Status>),
    /// A reload; answered with its verdict.
    Reload(oneshot::Sender<Result<String, String>>),
    /// The file of the configuration in force, and its model.
    Config(oneshot::Sender<(String, Arc<Model>)>),
    /// Another router is to take over from this instance.
    Handover(String, Answer),
    /// Maintenance begins or ends.
    Maintenance(Order, Answer),
    /// The last changes of role of this instance.
    Why(String, oneshot::Sender<Result<Vec<Transition>, String>>),
    /// This is added to the demotion counter of this group.
    Demote(String, i32, Answer),
}

/// Where the verdict on a command goes: a sentence in either case.
pub type Answer = oneshot::Sender<Result<String, String>>;

/// What is to become of whose maintenance.
#[derive(Debug)]
pub struct Order {
    /// Of one instance; `None`: of all.
    pub name: Option<String>,
    /// It begins.
    pub on: bool,
    /// It outlives a restart.
    pub persist: bool,
    /// Who says so: a user's name.
    pub by: String,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Client {
    user: Option<Uid>,
    /// May change things.
    privileged: bool,
}

impl Client {
    fn of(stream: &UnixStream) -> Self {
        let user = stream.peer_cred().ok().map(|peer| Uid::from_raw(peer.uid()));
        let privileged = user.is_some_and(|user| user.is_root() || user == Uid::effective());
        Self { user, privileged }
    }

    /// The name it logs in by. Accounts may be kept far away: asked for on another thread.
    async fn name(self) -> String {
        let Some(user) = self.user else { return "somebody".to_owned() };
        let account = tokio::task::spawn_blocking(move || User::from_uid(user)).await;
        match account {
            Ok(Ok(Some(account))) => account.name,
            _ => format!("user {user}"),
        }
    }
}

/// The socket. Its file goes away with it.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
}

impl Control {
    /// Listens, and serves in tasks of its own. A socket that nobody listens on is replaced.
    ///
    /// # Errors
    /// One sentence: what is in the way and what to do.
    pub fn listen(path: &Path, commands: mpsc::Sender<Command>) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!(
                "cannot open the control socket {}: {error}; lbctl cannot reach this daemon; \
                 give it a directory it may write to, or pick another with --socket PATH",
                path.display()
            )
        };
        if let Some(dir) = path.parent() {
            make_directory(dir).map_err(failed)?;
        }
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(failed(io::Error::other("something that is no socket is there")));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(failed(io::Error::other("another daemon listens there")));
            }
            fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let control = Self { path: path.to_owned() };
        let group = Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw());
        if let Some(gid) = group {
            chown(path, None, Some(gid)).map_err(failed)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        tokio::spawn(accept(listener, commands));
        Ok(control)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // its directory may be gone
    }
}

async fn accept(listener: UnixListener, commands: mpsc::Sender<Command>) {
    let seats = Arc::new(Seats::default());
    let recent = Arc::new(Recent::default());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors or memory: it passes, and spinning would not help it.
                tracing::warn!("control socket: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let client = Client::of(&stream);
        match Seats::take(&seats, client) {
            Some(seat) => {
                let (commands, recent) = (commands.clone(), Arc::clone(&recent));
                tokio::spawn(async move {
                    serve(stream, client, &commands, &recent).await;
                    drop(seat);
                });
            }
            None => refuse(&stream),
        }
    }
}

/// Who is connected, by user; `None` for root and ourselves.
#[derive(Debug, Default)]
struct Seats(Mutex<BTreeMap<Option<u32>, usize>>);

/// A place of one connection; free again when it is dropped.
struct Seat {
    seats: Arc<Seats>,
    user: Option<u32>,
}

impl Seats {
    fn taken(&self) -> MutexGuard<'_, BTreeMap<Option<u32>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client, if there is one for it.
    fn take(seats: &Arc<Self>, client: Client) -> Option<Seat> {
        let user = match client {
            Client { privileged: true, .. } => None,
            Client { user, .. } => Some(user.map_or(u32::MAX, Uid::as_raw)),
        };
        let mut taken = seats.taken();
        let of_user = taken.get(&user).copied().unwrap_or_default();
        let of_others: usize =
            taken.iter().filter(|(user, _)| user.is_some()).map(|(_, count)| count).sum();
        let has_room = match user {
            None => of_user < CONNECTIONS_OF_ROOT,
            Some(_) => of_user < CONNECTIONS_OF_USER && of_others < CONNECTIONS,
        };
        if !has_room {
            return None;
        }
        taken.insert(user, of_user + 1);
        Some(Seat { seats: Arc::clone(seats), user })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        match taken.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.user)),
        }
    }
}

/// The line of the last status that was answered to others than root.
#[derive(Debug, Default)]
struct Recent(tokio::sync::Mutex<Option<(Instant, Arc<[u8]>)>>);

impl Recent {
    /// A status that is not too old. Who asks meanwhile waits for the same one.
    async fn line(&self, commands: &mpsc::Sender<Command>) -> Arc<[u8]> {
        let mut last = self.0.lock().await;
        if let Some((at, line)) = &*last
            && at.elapsed() < STATUS_AGE
        {
            return Arc::clone(line);
        }
        let fresh: Arc<[u8]> = match Ask(commands).of(Command::Status).await {
            Some(status) => line(ResponseBody::Status { status: Box::new(status) }).into(),
            None => return line(ending()).into(),
        };
        *last = Some((Instant::now(), Arc::clone(&fresh)));
        fresh
    }
}

/// Says that there are too many, as far as the socket takes it without waiting.
fn refuse(stream: &UnixStream) {
    let _ = stream.try_write(&line(error("too many connections to the control socket; try again")));
}

/// Serves one client until it goes, errs or dawdles.
async fn serve(
    stream: UnixStream,
    client: Client,
    commands: &mpsc::Sender<Command>,
    recent: &Recent,
) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut request = Vec::new();
        let mut limited = (&mut reader).take(LONGEST);
        let read = limited.read_until(b'\n', &mut request);
        let Ok(Ok(1..)) = timeout(PATIENCE, read).await else { return };
        let whole = request.ends_with(b"\n");
        let answer: Arc<[u8]> = if whole {
            match understand(&request, client.privileged) {
                Ok(RequestBody::Status) if !client.privileged => recent.line(commands).await,
                Ok(command) => line(perform(command, client, commands).await).into(),
                Err(refusal) => line(refusal).into(),
            }
        } else {
            line(error("a request is one line of at most 64 KiB")).into()
        };
        let written = timeout(PATIENCE, writer.write_all(&answer)).await;
        if !whole || !matches!(written, Ok(Ok(()))) {
            return;
        }
        if !client.privileged {
            sleep(PACE).await;
        }
    }
}

fn understand(request: &[u8], privileged: bool) -> Result<RequestBody, ResponseBody> {
    // The version first: the rest of a stranger's request may be unknown here.
    #[derive(serde::Deserialize)]
    struct Version {
        v: u32,
    }
    let version: Version =
        serde_json::from_slice(request).map_err(|e| error(&format!("not a request: {e}")))?;
    if version.v != PROTOCOL_VERSION {
        return Err(error(&format!(
            "the client speaks protocol version {}, this daemon version {PROTOCOL_VERSION}; \
             use the lbctl that came with it",
            version.v
        )));
    }
    let request: Request =
        serde_json::from_slice(request).map_err(|e| error(&format!("not a request: {e}")))?;
    match request.body.reserved() {
        Some(what) if !privileged => Err(error(&format!("only root may {what}; try it with sudo"))),
        _ => Ok(request.body),
    }
}

async fn perform(
    request: RequestBody,
    client: Client,
    commands: &mpsc::Sender<Command>,
) -> ResponseBody {
    let ask = Ask(commands);
    let done = match request {
        RequestBody::Status => {
            return match ask.of(Command::Status).await {
                Some(status) => ResponseBody::Status { status: Box::new(status) },
                None => ending(),
            };
        }
        RequestBody::Config => {
            let Some((config, model)) = ask.of(Command::Config).await else { return ending() };
            return match serde_json::to_value(&*model) {
                Ok(model) => ResponseBody::Config { config, model: Box::new(model) },
                Err(problem) => error(&format!("the configuration cannot be shown: {problem}")),
            };
        }
        RequestBody::Why { name } => {
            return match ask.of(|answer| Command::Why(name.clone(), answer)).await {
                Some(Ok(transitions)) => ResponseBody::Why { name, transitions },
                Some(Err(message)) => ResponseBody::Error { message },
                None => ending(),
            };
        }
        RequestBody::Reload => ask.of(Command::Reload).await,
        RequestBody::Handover { name } => ask.of(|answer| Command::Handover(name, answer)).await,
        RequestBody::Maintenance { name, on, persist } => {
            let order = Order { name, on, persist, by: client.name().await };
            ask.of(|answer| Command::Maintenance(order, answer)).await
        }
        RequestBody::Demote { group, by } => {
            ask.of(|answer| Command::Demote(group, by, answer)).await
        }
    };
    match done {
        Some(Ok(message)) => ResponseBody::Done { message },
        Some(Err(message)) => ResponseBody::Error { message },
        None => ending(),
    }
}

/// Asks the supervisor.
struct Ask<'a>(&'a mpsc::Sender<Command>);

impl Ask<'_> {
    /// `None` when it answers no more.
    async fn of<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, said) = oneshot::channel();
        self.0.send(command(answer)).await.ok()?;
        said.await.ok()
    }
}

fn ending() -> ResponseBody {
    error("the daemon is about to stop")
}

fn error(message: &str) -> ResponseBody {
    ResponseBody::Error { message: message.to_owned() }
}

fn line(body: ResponseBody) -> Vec<u8> {
    // These types are strings and numbers all the way down: nothing in them fails to serialise.
    let mut line = serde_json::to_vec(&Response { v: PROTOCOL_VERSION, body }).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket whose supervisor refuses every reload.
    async fn socket() -> (tempfile::TempDir, PathBuf, Control) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/lbd.sock");
        let (sender, mut commands) = mpsc::channel(1);
        let control = Control::listen(&path, sender).unwrap();
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                match command {
                    Command::Reload(answer) => answer.send(Err("line 3: no".into())).unwrap(),
                    Command::Status(answer) => drop(answer),
                    Command::Config(answer) => {
                        answer.send(("x.conf".into(), Arc::default())).unwrap();
                    }
                    Command::Maintenance(order, answer) => answer.send(Ok(order.by)).unwrap(),
                    Command::Handover(name, answer) => answer.send(Err(name)).unwrap(),
                    Command::Why(_, answer) => answer.send(Ok(Vec::new())).unwrap(),
                    Command::Demote(_, by, answer) => answer.send(Ok(by.to_string())).unwrap(),
                }
            }
        });
        (dir, path, control)
    }

    async fn ask(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_a_command_with_its_verdict() {
        let (_dir, path, _control) = socket().await;
        let answer = ask(&path, b"{\"v\":1,\"command\":\"reload\"}\n").await;
        assert_eq!(answer, "{\"v\":1,\"answer\":\"error\",\"message\":\"line 3: no\"}\n");
    }

    #[tokio::test]
    async fn tells_the_configuration_in_force() {
        let (_dir, path, _control) = socket().await;
        let answer = ask(&path, b"{\"v\":1,\"command\":\"config\"}\n").await;
        let answer: Response = serde_json::from_str(&answer).unwrap();
        let ResponseBody::Config { config, model } = answer.body else { panic!("{answer:?}") };
        assert_eq!(config, "x.conf");
        assert_eq!(*model, serde_json::to_value(Model::default()).unwrap());
    }

    #[tokio::test]
    async fn survives_garbage() {
        let (_dir, path, _control) = socket().await;
        for (garbage, complaint) in [
            (&b"\n"[..], "not a request"),
            (b"\xff\xfe\0\n", "not a request"),
            (b"{\"v\":1}\n", "not a request"),
            (b"{\"v\":1,\"command\":\"dance\"}\n", "not a request"),
            (b"{\"v\":7,\"command\":\"dance\"}\n", "protocol version 7"),
            (b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "not a request"),
            (b"no newline", "one line"),
            (&vec![b'x'; 70_000], "one line"),
        ] {
            let answer = ask_roughly(&path, garbage).await;
            assert!(answer.contains(complaint), "{answer}");
        }
        assert!(ask(&path, b"{\"v\":1,\"command\":\"reload\"}\n").await.contains("line 3"));
    }

    /// As [`ask`], but the daemon may hang up before it has read everything.
    async fn ask_roughly(path: &Path, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_and_room_is_made_again() {
        let (_dir, path, _control) = socket().await;
        let mut crowd = Vec::new();
        for _ in 0..CONNECTIONS_OF_ROOT {
            crowd.push(UnixStream::connect(&path).await.unwrap());
        }
        assert!(ask_roughly(&path, b"").await.contains("too many"));
        drop(crowd);
        loop {
            let answer = ask_roughly(&path, b"{\"v\":1,\"command\":\"reload\"}\n").await;
            if answer.contains("line 3") {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn others_leave_places_for_root_and_for_each_other() {
        let seats = Arc::new(Seats::default());
        let client = |user, privileged| Client { user: Some(Uid::from_raw(user)), privileged };
        let take = |user| Seats::take(&seats, client(user, user == 0));
        let mut of_alice: Vec<Seat> = std::iter::from_fn(|| take(1000)).collect();
        assert_eq!(of_alice.len(), CONNECTIONS_OF_USER);
        let of_others: Vec<Seat> = (1001..1100).filter_map(take).collect();
        assert_eq!(of_alice.len() + of_others.len(), CONNECTIONS);
        let of_root: Vec<Seat> = std::iter::from_fn(|| take(0)).collect();
        assert_eq!(of_root.len(), CONNECTIONS_OF_ROOT);
        of_alice.pop();
        assert!(take(2000).is_some());
        drop((of_alice, of_others, of_root));
        assert!(seats.taken().is_empty());
    }

    #[tokio::test]
    async fn others_than_root_share_a_status() {
        let (sender, mut commands) = mpsc::channel(1);
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let Command::Status(answer) = command else { panic!("{command:?}") };
                *count.lock().unwrap() += 1;
                let status = include_str!("../../../lbctl/src/status/carp.json");
                answer.send(serde_json::from_str(status).unwrap()).unwrap();
            }
        });
        tokio::time::pause();
        let recent = Recent::default();
        for _ in 0..100 {
            assert!(recent.line(&sender).await.starts_with(b"{\"v\":1,\"answer\":\"status\""));
        }
        assert_eq!(*asked.lock().unwrap(), 1);
        tokio::time::advance(STATUS_AGE).await;
        recent.line(&sender).await;
        assert_eq!(*asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn replaces_a_stale_socket_but_not_a_living_one_nor_a_file() {
        let (dir, path, control) = socket().await;
        let (sender, _commands) = mpsc::channel(1);
        let error = Control::listen(&path, sender.clone()).unwrap_err();
        assert!(error.contains("another daemon"), "{error}");
        drop(control);
        let stale = dir.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert!(stale.exists());
        let control = Control::listen(&stale, sender.clone()).unwrap();
        assert_eq!(fs::metadata(&stale).unwrap().permissions().mode() & 0o777, 0o660);
        drop(control);
        assert!(!stale.exists());
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        assert!(Control::listen(&file, sender).unwrap_err().contains("no socket"));
    }

    #[tokio::test]
    async fn maintenance_is_signed_by_who_asked_for_it() {
        let (_dir, path, _control) = socket().await;
        let user = User::from_uid(Uid::current()).unwrap().unwrap();
        let answer = ask(&path, b"{\"v\":1,\"command\":\"maintenance\",\"on\":true}\n").await;
        let answer: Response = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer.body, ResponseBody::Done { message: user.name });
    }

    #[test]
    fn only_root_may_change_things_or_see_passwords() {
        let allowed = |command: &str, privileged| {
            understand(format!("{{\"v\":1,\"command\":{command}}}\n").as_bytes(), privileged)
                .is_ok()
        };
        for command in [
            r#""config""#,
            r#""reload""#,
            r#""handover","name":"VI_1""#,
            r#""maintenance","on":true"#,
            r#""demote","group":"carp","by":1"#,
        ] {
            assert!(!allowed(command, false) && allowed(command, true), "{command}");
        }
        for command in [r#""status""#, r#""why","name":"VI_1""#] {
            assert!(allowed(command, false), "{command}");
        }
    }
}
