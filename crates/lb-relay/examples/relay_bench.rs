//! The relay beside HAProxy: the same clients and servers, in turns, in one run.
//!
//!     cargo run --release -p lb-relay --example relay_bench [ROUNDS]
//!
//! Both run as processes of their own with as many threads as there are processors, so that their
//! CPU time can be told from the load generator's. Prints the median of the rounds: what got
//! through a second, and the CPU time it took the proxy. Wall figures depend on what else the host
//! does; compare within one run only. Without `haproxy` only the relay is measured.

use std::error::Error;
use std::io::{Read, Write, stdin};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lb_pool::{Dataplane, Destination, DestinationKey, Protocol, Scheduler, Service, ServiceKey};
use lb_relay::{Options, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const REQUEST: &[u8] = &[b'q'; 100];
const ANSWER: &[u8] = &[b'a'; 500];
const CHUNK: usize = 1 << 18;
const ROUND: Duration = Duration::from_secs(2);

/// What clients do.
#[derive(Clone, Copy)]
enum Load {
    /// Connect, ask, hear, close.
    Short,
    /// Ask and hear over one connection.
    Kept,
    /// Hear as much as comes.
    Bulk,
}

const LOADS: [(Load, &str, usize); 3] = [
    (Load::Short, "connections/s", 64),
    (Load::Kept, "requests/s   ", 64),
    (Load::Bulk, "MiB/s        ", 4),
];

fn main() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    if let [word, listen, server] = args.as_slice()
        && word == "serve"
    {
        return serve(listen.parse()?, server.parse()?);
    }
    let rounds = args.first().map_or(Ok(3), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(rounds))
}

/// The relay's process: serves until its standard input ends.
fn serve(listen: SocketAddr, server: SocketAddr) -> Result<()> {
    let key = DestinationKey { address: server.ip(), port: server.port() };
    let destination = Destination { weight: 1, ..Destination::default() };
    let destinations = [(key, destination)].into_iter().collect();
    let service = Service { scheduler: Scheduler::Rr, destinations, ..Service::default() };
    let mut relay = Relay::start(Options::default())?;
    relay
        .apply(&ServiceKey::Address { protocol: Protocol::Tcp, address: listen }, Some(&service))?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn measure(rounds: usize) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let target = server.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = server.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let mut proxies = vec![Proxy::relay(target)?];
    proxies.extend(Proxy::haproxy(target)?);
    for proxy in &proxies {
        proxy.ready().await?;
    }
    for (load, unit, clients) in LOADS {
        let mut results = vec![Vec::new(); proxies.len()];
        for _ in 0..rounds {
            for (proxy, results) in proxies.iter().zip(&mut results) {
                results.push(round(proxy, load, clients).await?);
            }
        }
        let medians: Vec<_> =
            results.iter_mut().map(|all| (median(all, |r| r.0), median(all, |r| r.1))).collect();
        for (proxy, (rate, cpu)) in proxies.iter().zip(&medians) {
            println!("{:8} {rate:10.0} {unit}  {cpu:9.2} µs CPU each", proxy.name);
        }
        if let [(rate, cpu), (other_rate, other_cpu)] = medians.as_slice() {
            println!(
                "{:8} {:10.2} of the rate   {:9.2} of the CPU",
                "ratio",
                rate / other_rate,
                cpu / other_cpu
            );
        }
    }
    Ok(())
}

fn median(all: &mut [(f64, f64)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    all.sort_by(|a, b| of(a).total_cmp(&of(b)));
    of(&all[all.len() / 2])
}

/// Answers requests; one that begins with `b` gets octets until it goes away.
async fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut request, chunk) = ([0; REQUEST.len()], vec![0; CHUNK]);
    while stream.read_exact(&mut request).await.is_ok() {
        if request[0] != b'b' {
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
            continue;
        }
        while stream.write_all(&chunk).await.is_ok() {}
    }
}

/// One round: how much a second, and microseconds of the proxy's CPU time for each.
async fn round(proxy: &Proxy, load: Load, clients: usize) -> Result<(f64, f64)> {
    let done = Arc::new(AtomicU64::new(0));
    let (cpu, start) = (proxy.cpu()?, Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (done, at) = (Arc::clone(&done), proxy.listen);
        tasks.spawn(async move { timeout(ROUND, client(at, load, &done)).await });
    }
    while let Some(ended) = tasks.join_next().await {
        // A client ends by its time only; everything else is a failure to be seen.
        if let Ok(result) = ended? {
            result?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let amount = match load {
        Load::Bulk => done.load(Relaxed) as f64 / f64::from(1 << 20),
        Load::Short | Load::Kept => done.load(Relaxed) as f64,
    };
    Ok((amount / seconds, (proxy.cpu()? - cpu) * 1e6 / amount))
}

async fn client(at: SocketAddr, load: Load, done: &AtomicU64) -> Result<()> {
    let mut heard = [0; ANSWER.len()];
    match load {
        Load::Short => loop {
            let mut stream = TcpStream::connect(at).await?;
            stream.write_all(REQUEST).await?;
            stream.read_exact(&mut heard).await?;
            done.fetch_add(1, Relaxed);
        },
        Load::Kept => {
            let mut stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            loop {
                stream.write_all(REQUEST).await?;
                stream.read_exact(&mut heard).await?;
                done.fetch_add(1, Relaxed);
            }
        }
        Load::Bulk => {
            let (mut stream, mut chunk) = (TcpStream::connect(at).await?, vec![0; CHUNK]);
            stream.write_all(&[b'b'; REQUEST.len()]).await?;
            loop {
                done.fetch_add(stream.read(&mut chunk).await? as u64, Relaxed);
            }
        }
    }
}

/// A proxy in a process of its own, which ends with us.
struct Proxy {
    name: &'static str,
    listen: SocketAddr,
    child: Child,
    file: Option<PathBuf>,
    _stdin: Option<ChildStdin>,
}

impl Proxy {
    fn new(name: &'static str, listen: SocketAddr, command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        Ok(Self { name, listen, child, file: None, _stdin: stdin })
    }

    fn relay(target: SocketAddr) -> Result<Self> {
        let listen = free_address()?;
        let mut command = Command::new(env::current_exe()?);
        Self::new(
            "relay",
            listen,
            command.arg("serve").args([listen.to_string(), target.to_string()]),
        )
    }

    fn haproxy(target: SocketAddr) -> Result<Option<Self>> {
        if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
            return Ok(None);
        }
        let (listen, threads) =
            (free_address()?, thread::available_parallelism()?.min(4.try_into()?));
        let file = env::temp_dir().join(format!("relay_bench.{}.cfg", std::process::id()));
        write!(
            fs::File::create(&file)?,
            "global\n nbthread {threads}\n maxconn 4000\n\
             defaults\n mode tcp\n option splice-auto\n timeout connect 5s\n timeout client 900s\n timeout server 900s\n\
             listen all\n bind {listen}\n server one {target}\n"
        )?;
        let mut command = Command::new("haproxy");
        let mut proxy = Self::new("haproxy", listen, command.args(["-db", "-q", "-f"]).arg(&file))?;
        proxy.file = Some(file);
        Ok(Some(proxy))
    }

    async fn ready(&self) -> Result<()> {
        let connected = async {
            while TcpStream::connect(self.listen).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Ok(timeout(Duration::from_secs(10), connected).await?)
    }

    /// Seconds of user and system time so far: fields 14 and 15 of proc_pid_stat(5), in ticks of
    /// 10 ms.
    fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        Ok(f64::from(ticks.sum::<std::result::Result<u32, _>>()?) / 100.0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.file.as_ref().map(fs::remove_file);
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(StdListener::bind("127.0.0.1:0")?.local_addr()?)
}
