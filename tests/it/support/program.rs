//! The larder program as a process of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::{Connection, PATIENCE};

/// A running program; killed when it is dropped.
pub struct Program {
    pub address: SocketAddr,
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

/// A command line of larder with nothing of this process's environment.
pub fn larder(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Runs a command line to its end and gives its exit code, output and errors.
pub fn run(args: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = larder(args);
    let Output { status, stdout, stderr } = command.envs(environment.iter().copied()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

impl Program {
    /// Starts a node over `data` on a port of its own; what it logs goes to the file `log`.
    pub fn start(data: &Path, log: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child = larder(&["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()])
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(fs::OpenOptions::new().create(true).append(true).open(log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // The address stands in the first lines that it prints.
        while !line.contains("http://") && stdout.read_line(&mut line).unwrap() > 0 {}
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let address = url.and_then(|url| url.split('/').next()?.parse().ok());
        let Some(address) = address else { panic!("no address in {line:?}; it logged {:?}", fs::read_to_string(log)) };
        Self { address, child, _stdout: stdout }
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// The most memory that it had, in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the program does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
