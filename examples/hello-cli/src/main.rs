//! A `wasi:cli/command` component for trying out what a Wasm pod gets. The first argument chooses:
//! `env`, `cat FILE`, `exit CODE`, `spin`, `allocate`, `trap`, `serve PORT` (TCP, one line per connection), or nothing: a greeting.

use std::io::Write;
use std::net::TcpListener;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str).unwrap_or_default();
    match argument(0) {
        "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "cat" => match std::fs::read_to_string(argument(1)) {
            Ok(text) => print!("{text}"),
            Err(error) => fail(&format!("{}: {error}", argument(1))),
        },
        "write" => {
            if let Err(error) = std::fs::write(argument(1), argument(2)) {
                fail(&format!("{}: {error}", argument(1)));
            }
        }
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

fn fail(message: &str) {
    eprintln!("{message}");
    std::process::exit(1);
}
