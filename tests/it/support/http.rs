//! An HTTP/1.1 client that hides nothing: the tests decide every byte, and see every byte.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a node.
pub struct Connection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Answer {
    /// A header's value, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// The value of `Authorization` for a user of the test node.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    /// Connects, if somebody listens.
    pub async fn try_open(address: SocketAddr) -> Option<Self> {
        Some(Self { stream: TcpStream::connect(address).await.ok()?, buffer: Vec::new() })
    }

    /// Sends a request with a Content-Length and reads the answer.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.head(method, path, headers, Some(body.len())).await;
        // A node may answer and close before it has read everything.
        let _ = self.stream.write_all(body).await;
        self.answer(method).await
    }

    /// Sends a request as user `ci`.
    pub async fn ci(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.send(method, path, &[("Authorization", &basic("ci", "pw"))], body).await
    }

    /// Sends a PUT as user `ci` in pieces of this size, without a Content-Length, and reads the answer.
    pub async fn ci_chunked(&mut self, path: &str, body: &[u8], piece: usize) -> Answer {
        let headers = [("Authorization", basic("ci", "pw")), ("Transfer-Encoding", "chunked".to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.head("PUT", path, &headers, None).await;
        for piece in body.chunks(piece) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            let _ = self.stream.write_all(&chunk).await;
        }
        let _ = self.stream.write_all(b"0\r\n\r\n").await;
        self.answer("PUT").await
    }

    /// Sends only the head of a request.
    pub async fn head(&mut self, method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: larder\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length.filter(|&length| length > 0 || method == "PUT") {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// Reads an answer to a request with this method. Panics when the connection ends inside it.
    pub async fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).await.expect("a whole answer")
    }

    /// Reads an answer; `None` when the connection ends before or inside it.
    pub async fn try_answer(&mut self, method: &str) -> Option<Answer> {
        let mut answer = self.try_answer_head().await?;
        let has_body = method != "HEAD" && answer.status != 204 && answer.status >= 200;
        if has_body {
            let length: usize = answer.header("content-length").expect("always a Content-Length").parse().unwrap();
            while self.buffer.len() < length {
                self.more().await?;
            }
            answer.body = self.buffer.drain(..length).collect();
        }
        Some(answer)
    }

    /// Reads the head of an answer only.
    pub async fn try_answer_head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Answer { status, headers, body: Vec::new() })
    }

    /// Whether the node closes the connection, within `patience`.
    pub async fn is_closed_within(&mut self, patience: Duration) -> bool {
        let mut byte = [0; 1];
        matches!(tokio::time::timeout(patience, self.stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = vec![0; 64 << 10];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("an answer in time");
        let n = read.ok().filter(|&n| n > 0)?;
        self.buffer.extend_from_slice(&piece[..n]);
        Some(())
    }
}
