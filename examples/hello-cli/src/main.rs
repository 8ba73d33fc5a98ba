//! A `wasi:cli/command` component for trying out what a Wasm pod gets. The first argument chooses:
//! `env`, `count` (for ever, a line each millisecond), `cat FILE`, `write FILE TEXT`, `ls FOLDER`, `exit CODE`, `spin`, `allocate`, `trap`, `serve PORT` (TCP, one line
//! per connection), `connect HOST:PORT` (prints what a TCP server says), `datagram HOST:PORT TEXT` (prints a UDP server's
//! answer), `lookup NAME`, or nothing: a greeting.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str).unwrap_or_default();
    match argument(0) {
        "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "count" => (1_u64..).for_each(|number| {
            println!("line {number}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }),
        "cat" => match std::fs::read_to_string(argument(1)) {
            Ok(text) => print!("{text}"),
            Err(error) => fail(&format!("{}: {error}", argument(1))),
        },
        "write" => {
            if let Err(error) = std::fs::write(argument(1), argument(2)) {
                fail(&format!("{}: {error}", argument(1)));
            }
        }
        "ls" => match std::fs::read_dir(argument(1)) {
            Ok(entries) => entries.flatten().for_each(|entry| println!("{}", entry.file_name().to_string_lossy())),
            Err(error) => fail(&format!("{}: {error}", argument(1))),
        },
        "exit" => std::process::exit(argument(1).parse().unwrap_or(1)),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "allocate" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 20]);
                println!("{} MiB", all.len());
            }
        }
        "trap" => panic!("asked to trap"),
        "serve" => serve(argument(1)),
        "connect" => print_or_fail(argument(1), connect(argument(1))),
        "datagram" => print_or_fail(argument(1), datagram(argument(1), argument(2))),
        "lookup" => print_or_fail(argument(1), lookup(argument(1))),
        _ => println!("Hello from a Wasm command"),
    }
}

fn serve(port: &str) {
    let listener = match TcpListener::bind(format!("0.0.0.0:{port}")) {
        Ok(listener) => listener,
        Err(error) => return fail(&format!("listen on {port}: {error}")),
    };
    println!("listening on {port}");
    for mut stream in listener.incoming().flatten() {
        let _ = writeln!(stream, "hello from port {port}");
    }
}

fn connect(server: &str) -> std::io::Result<String> {
    let mut text = String::new();
    TcpStream::connect(server)?.read_to_string(&mut text)?;
    Ok(text)
}

fn datagram(server: &str, text: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.send(text.as_bytes())?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn lookup(name: &str) -> std::io::Result<String> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| format!("{}\n", address.ip())).collect())
}

fn print_or_fail(what: &str, result: std::io::Result<String>) {
    match result {
        Ok(text) => print!("{text}"),
        Err(error) => fail(&format!("{what}: {error}")),
    }
}

fn fail(message: &str) {
    eprintln!("{message}");
    std::process::exit(1);
}
