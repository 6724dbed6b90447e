//! Owns how processes find each other before NCCL joins them: the leading one hands each other one a small ticket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a process waits for the others.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two knocks at the door.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the leading process waits: `MASTER_ADDR`, and the port after `MASTER_PORT`, which torchrun itself listens at; by
/// default this machine.
pub(super) fn address(variable: impl Fn(&str) -> Option<String>) -> Result<String> {
    let host = variable("MASTER_ADDR").unwrap_or_else(|| "127.0.0.1".into());
    let port = match variable("MASTER_PORT") {
        Some(port) => port
            .parse::<u16>()
            .with_context(|| format!("MASTER_PORT is {port:?}, which is no port"))?,
        None => 29_500,
    };
    Ok(format!("{host}:{}", port.saturating_add(1)))
}

/// Gives the ticket to `others` processes, each of which comes once.
///
/// # Errors
/// If nobody can listen there, or one of them does not come in time.
pub(super) fn hand_out(ticket: &[u8], others: usize, address: &str) -> Result<()> {
    let port = address.rsplit(':').next().unwrap_or_default();
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))
        .with_context(|| format!("cannot wait for the other processes at port {port}"))?;
    listener.set_nonblocking(true)?;
    let (start, mut served) = (Instant::now(), 0);
    while served < others {
        match listener.accept() {
            // One that goes away before it has the ticket comes again.
            Ok((mut stream, _)) => served += usize::from(stream.write_all(ticket).is_ok()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                anyhow::ensure!(
                    start.elapsed() < PATIENCE,
                    "only {served} of {others} other processes came to {address} in {PATIENCE:?}"
                );
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error).context("cannot wait for the other processes"),
        }
    }
    Ok(())
}

/// Fetches the ticket of `N` bytes from the leading process.
///
/// # Errors
/// If it is not there in time.
pub(super) fn fetch<const N: usize>(address: &str) -> Result<[u8; N]> {
    let start = Instant::now();
    loop {
        let mut ticket = [0; N];
        let fetched =
            TcpStream::connect(address).and_then(|mut stream| stream.read_exact(&mut ticket));
        match fetched {
            Ok(()) => return Ok(ticket),
            Err(error) if start.elapsed() >= PATIENCE => {
                return Err(error).with_context(|| {
                    format!("the leading process cannot be reached at {address}; MASTER_ADDR and MASTER_PORT say where")
                });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_the_ticket() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let at = address(|name| match name {
            "MASTER_PORT" => Some((port - 1).to_string()),
            _ => None,
        });
        let (at, ticket) = (at.unwrap(), [7u8; 128]);
        std::thread::scope(|scope| {
            let others = [(); 2].map(|()| scope.spawn(|| fetch::<128>(&at).unwrap()));
            hand_out(&ticket, 2, &at).unwrap();
            for other in others {
                assert_eq!(other.join().unwrap(), ticket);
            }
        });
        assert!(address(|_| Some("x".into())).is_err());
    }
}
