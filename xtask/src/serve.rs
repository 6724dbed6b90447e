//! Owns a small static file server for this machine alone: one folder, correct types, no writing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many ports to try after a taken one.
const PORTS_TO_TRY: u16 = 50;
/// No request line or header of a browser is longer.
const LONGEST_REQUEST: u64 = 64 * 1024;

/// What the page's own policy cannot say: that no other page may show it in a frame. Both hold.
const POLICY: &str = "frame-ancestors 'none'";

/// What to serve and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The folder to serve
    #[arg(default_value = "dist")]
    folder: PathBuf,
    /// The port; the next free one is taken if it is in use, 0 takes any
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// Serves until the program is stopped.
///
/// # Errors
/// If the folder has no index.html or no port is free.
pub(crate) fn run(options: &Options) -> Result<()> {
    let server = Server::bind(&options.folder, options.port)?;
    println!(
        "Serving {} at {}",
        options.folder.display(),
        server.address()
    );
    server.serve()
}

/// A bound, not yet serving server.
pub(crate) struct Server {
    listener: TcpListener,
    folder: PathBuf,
    port: u16,
}

impl Server {
    /// Takes `port`, or the next free one after it, on 127.0.0.1.
    ///
    /// # Errors
    /// If the folder has no index.html or none of the ports is free.
    pub(crate) fn bind(folder: &Path, port: u16) -> Result<Self> {
        if !folder.join("index.html").is_file() {
            bail!(
                "{} has no index.html; build the page first with `cargo xtask build-web`",
                folder.display()
            );
        }
        let last = port.saturating_add(PORTS_TO_TRY);
        let listener = (port..=last)
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .with_context(|| {
                format!("none of the ports {port} to {last} is free; choose another with --port")
            })?;
        let port = listener
            .local_addr()
            .context("the port has no address")?
            .port();
        Ok(Self {
            listener,
            folder: folder.to_owned(),
            port,
        })
    }

    /// The address to type into a browser.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Answers requests, each connection on a thread of its own, until the program ends.
    ///
    /// # Errors
    /// Never in practice: a connection that fails ends alone.
    pub(crate) fn serve(self) -> Result<()> {
        for stream in self.listener.incoming().flatten() {
            let folder = self.folder.clone();
            // A browser that goes away in the middle of an answer is no event worth a message.
            std::thread::spawn(move || drop(converse(&folder, stream)));
        }
        Ok(())
    }
}

/// Reads requests from one connection and answers them until it closes.
fn converse(folder: &Path, mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = reader.by_ref().take(LONGEST_REQUEST);
        let mut request = String::new();
        if head.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while head.read_line(&mut header)? > 0 && !header.trim().is_empty() {
            header.clear();
        }
        let mut words = request.split_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let answer = Answer::to(folder, method, target);
        answer.send(&mut stream, method == "HEAD")?;
        if !matches!(method, "GET" | "HEAD") {
            return Ok(()); // a body we do not read may follow
        }
    }
}

/// A complete response.
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn to(folder: &Path, method: &str, target: &str) -> Self {
        let sentence = |status, text: &str| Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: text.into(),
        };
        if !matches!(method, "GET" | "HEAD") {
            return sentence(
                "405 Method Not Allowed",
                "Only GET and HEAD are answered here.\n",
            );
        }
        match locate(folder, target).map(|path| (fs::read(&path), path)) {
            Some((Ok(body), path)) => Self {
                status: "200 OK",
                kind: media_type(&path),
                body,
            },
            _ => sentence("404 Not Found", "There is no such file here.\n"),
        }
    }

    fn send(&self, stream: &mut TcpStream, head_only: bool) -> Result<()> {
        write!(
            stream,
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: {POLICY}\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\n\
             Cross-Origin-Embedder-Policy: require-corp\r\n\
             Cross-Origin-Resource-Policy: same-origin\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        )?;
        if !head_only {
            stream.write_all(&self.body)?;
        }
        Ok(stream.flush()?)
    }
}

/// The file a request means, if its path stays inside the folder.
fn locate(folder: &Path, target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let decoded = percent_decode(path)?;
    let relative = Path::new(&decoded);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let path = folder.join(relative);
    inside.then(|| {
        if path.is_dir() {
            path.join("index.html")
        } else {
            path
        }
    })
}

/// `%20` and the like as the bytes they stand for; nothing if that is not UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The media type by file ending; browsers insist on it for scripts and WebAssembly.
fn media_type(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or("")
    {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "md" | "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: &str, request: &str) -> String {
        let host = address.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn serves_its_folder_and_nothing_above_it() {
        let folder = std::env::temp_dir().join(format!("lacuna-serve-{}", std::process::id()));
        fs::create_dir_all(folder.join("a b")).unwrap();
        fs::write(folder.join("index.html"), "<p>page</p>").unwrap();
        fs::write(folder.join("a b/x.wasm"), "code").unwrap();
        let server = Server::bind(&folder, 0).unwrap();
        let address = server.address();
        std::thread::spawn(move || server.serve());

        let page = ask(&address, "GET /?x=1 HTTP/1.1\r\n\r\n");
        assert!(
            page.starts_with("HTTP/1.1 200 OK") && page.ends_with("<p>page</p>"),
            "{page}"
        );
        assert!(
            page.contains("Content-Security-Policy: frame-ancestors"),
            "{page}"
        );
        let code = ask(&address, "GET /a%20b/x.wasm HTTP/1.1\r\n\r\n");
        assert!(code.contains("application/wasm"), "{code}");
        for target in [
            "/../Cargo.toml",
            "/%2e%2e/Cargo.toml",
            "//etc/passwd",
            "/none",
            "/%f",
        ] {
            let answer = ask(&address, &format!("GET {target} HTTP/1.1\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 404"), "{target}: {answer}");
        }
        assert!(ask(&address, "POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        fs::remove_dir_all(folder).unwrap();
    }
}
