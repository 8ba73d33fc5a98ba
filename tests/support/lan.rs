//! Machines for clusters of several nodes: network namespaces, each with a cable to a namespace that is their switch, or their
//! router. Nothing of the real machine's network is between them. All is gone when it is dropped; what a killed test leaves,
//! the next one removes with the folder.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};

use crate::command::{Ran, run};
use crate::folder::Folder;

pub struct Lan {
    folder: Folder,
    is_routed: bool,
    machines: Vec<Machine>,
}

/// A network namespace.
#[derive(Clone)]
pub struct Machine {
    pub name: String,
    pub address: Ipv4Addr,
    pin: PathBuf,
}

impl Lan {
    /// Machines on one link, on which the switch has an address as well: somebody from outside of the cluster.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn switched(names: &[&str]) -> Self {
        let mut lan = Self::new(false);
        lan.hub().run(&["ip", "link", "add", "switch", "type", "bridge"]);
        lan.hub().run(&["ip", "addr", "add", "198.18.0.1/24", "dev", "switch"]);
        lan.hub().run(&["ip", "link", "set", "switch", "up"]);
        for (number, name) in (11..).zip(names) {
            let machine = lan.plug(name, Ipv4Addr::new(198, 18, 0, number), Ipv4Addr::new(198, 18, 0, 1));
            lan.hub().run(&["ip", "link", "set", &cable(&machine.name), "master", "switch"]);
        }
        lan
    }

    /// Machines each on a link of its own, with a router between them.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn routed(names: &[&str]) -> Self {
        let mut lan = Self::new(true);
        names.iter().for_each(|name| drop(lan.plug_alone(name)));
        lan.hub().forward();
        lan
    }

    /// The same, and further machines that have one and the same address, each behind a router that translates it to its own.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn translated(names: &[&str], behind: &[&str]) -> Self {
        let mut lan = Self::routed(names);
        for name in behind {
            let router = lan.plug_alone(&format!("r-{name}"));
            let machine = Machine { name: (*name).to_owned(), address: Ipv4Addr::new(192, 168, 77, 2), pin: lan.namespace(name) };
            let pin = machine.pin.display().to_string();
            router.run(&["ip", "link", "add", "inside", "type", "veth", "peer", "name", "eth0", "netns", &pin]);
            router.run(&["ip", "addr", "add", "192.168.77.1/24", "dev", "inside"]);
            router.run(&["ip", "link", "set", "inside", "up"]);
            machine.connect(Ipv4Addr::new(192, 168, 77, 1));
            router.forward();
            let chain = "chain out { type nat hook postrouting priority 100;\noifname \"eth0\" masquerade\n}";
            router.pipe(&["nft", "-f", "-"], &format!("table ip translate {{\n{chain}\n}}\n"));
            lan.machines.push(machine);
        }
        lan
    }

    /// A new machine on a link of its own with the router.
    fn plug_alone(&mut self, name: &str) -> Machine {
        let number = u8::try_from(self.machines.len() + 1).expect("are few");
        let router = Ipv4Addr::new(198, 18, number, 1);
        let machine = self.plug(name, Ipv4Addr::new(198, 18, number, 11), router);
        self.hub().run(&["ip", "addr", "add", &format!("{router}/24"), "dev", &cable(name)]);
        machine
    }

    fn new(is_routed: bool) -> Self {
        let lan = Self { folder: Folder::new(), is_routed, machines: Vec::new() };
        std::fs::create_dir_all(pins(lan.folder.path())).expect("makes");
        lan.namespace("hub");
        lan
    }

    fn namespace(&self, name: &str) -> PathBuf {
        let pin = pins(self.folder.path()).join(name);
        File::create(&pin).expect("makes");
        run(Command::new("unshare").arg(format!("--net={}", pin.display())).arg("true")).ok();
        let inside = Machine { name: name.to_owned(), address: Ipv4Addr::LOCALHOST, pin: pin.clone() };
        inside.run(&["ip", "link", "set", "lo", "up"]);
        pin
    }

    /// A new machine with a cable to the hub.
    fn plug(&mut self, name: &str, address: Ipv4Addr, router: Ipv4Addr) -> Machine {
        let machine = Machine { name: name.to_owned(), address, pin: self.namespace(name) };
        let cable = cable(name);
        let pin = machine.pin.display().to_string();
        self.hub().run(&["ip", "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &pin]);
        self.hub().run(&["ip", "link", "set", &cable, "up"]);
        machine.connect(router);
        self.machines.push(machine.clone());
        machine
    }

    /// The switch or router: who asks from there asks from outside of the cluster.
    pub fn hub(&self) -> Machine {
        let first = if self.is_routed { Ipv4Addr::new(198, 18, 1, 1) } else { Ipv4Addr::new(198, 18, 0, 1) };
        Machine { name: "hub".to_owned(), address: first, pin: pins(self.folder.path()).join("hub") }
    }

    /// # Panics
    /// When there is none of this name.
    pub fn machine(&self, name: &str) -> &Machine {
        self.machines.iter().find(|machine| machine.name == name).expect("is a machine of the network")
    }

    /// Nothing comes from the machine or to it any more.
    pub fn cut_off(&self, name: &str) {
        self.spoil(name, "drop");
    }

    /// So many of 100 packets that come from the machine, and as many of those that go to it, are lost.
    pub fn lose(&self, name: &str, percent: u8) {
        self.spoil(name, &format!("numgen random mod 100 < {percent} drop"));
    }

    /// Packets that `which` says, in nft's words, come neither from the machine nor to it.
    pub fn withhold(&self, name: &str, which: &str) {
        self.spoil(name, &format!("{which} drop"));
    }

    /// Packets between the machine and the others come so much later, if the kernel can (netem); whether it can.
    pub fn delay(&self, name: &str, milliseconds: u32) -> bool {
        let delay = format!("{milliseconds}ms");
        let mut command = Command::new("tc");
        command.args(["qdisc", "replace", "dev", &cable(name), "root", "netem", "delay", &delay]);
        run(&mut self.hub().inside(&command)).code == Some(0)
    }

    /// What comes from one machine does not come to the other; the other way, it does.
    pub fn mute(&self, from: &str, to: &str) {
        let (from, to) = (self.machine(from).address, self.machine(to));
        let chain =
            format!("chain mute {{ type filter hook egress device \"{}\" priority 0;\nip saddr {from} drop\n}}", cable(&to.name));
        self.hub().pipe(&["nft", "-f", "-"], &format!("table netdev mute {{\n{chain}\n}}\n"));
    }

    fn spoil(&self, name: &str, rule: &str) {
        let cable = cable(name);
        let chain = |hook: &str| format!("chain {hook} {{ type filter hook {hook} device \"{cable}\" priority 0;\n{rule}\n}}\n");
        let table = format!("table netdev spoil-{name} {{\n{}{}}}\n", chain("ingress"), chain("egress"));
        self.hub().pipe(&["nft", "-f", "-"], &table);
    }

    /// All is well again.
    pub fn heal(&self) {
        self.hub().run(&["nft", "flush", "ruleset"]);
        for machine in &self.machines {
            // There may be no delay.
            let _ = run(&mut self.hub().inside(Command::new("tc").args(["qdisc", "del", "dev", &cable(&machine.name), "root"])));
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        release(self.folder.path());
    }
}

/// The hub's end of a machine's cable.
fn cable(name: &str) -> String {
    format!("to-{name}")
}

fn pins(folder: &Path) -> PathBuf {
    folder.join("machines")
}

/// Lets go of the namespaces that are pinned in a fixture's folder.
pub(crate) fn release(folder: &Path) {
    for pin in std::fs::read_dir(pins(folder)).into_iter().flatten().flatten() {
        // One that was never pinned is a file like any other.
        let _ = umount2(&pin.path(), MntFlags::MNT_DETACH);
    }
}

impl Machine {
    /// Gives its end of the cable its address, and its router.
    fn connect(&self, router: Ipv4Addr) {
        self.run(&["ip", "addr", "add", &format!("{}/24", self.address), "dev", "eth0"]);
        self.run(&["ip", "link", "set", "eth0", "up"]);
        self.run(&["ip", "route", "add", "default", "via", &router.to_string()]);
    }

    fn forward(&self) {
        self.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    }

    pub fn pin(&self) -> &Path {
        &self.pin
    }

    /// The command, to be run there.
    pub fn inside(&self, command: &Command) -> Command {
        inside(&self.pin, command)
    }

    /// Runs a program there.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, line: &[&str]) -> String {
        self.try_run(line).ok()
    }

    /// Runs a program there, whatever comes of it.
    pub fn try_run(&self, line: &[&str]) -> Ran {
        run(&mut self.inside(Command::new(line[0]).args(&line[1..])))
    }

    /// Runs a program there with a standard input.
    #[track_caller]
    fn pipe(&self, line: &[&str], stdin: &str) -> String {
        run(self.inside(Command::new(line[0]).args(&line[1..])).stdin(crate::client::text(stdin))).ok()
    }

    /// What curl there is told.
    pub fn curl(&self, url: &str) -> Ran {
        self.try_run(&["curl", "-sS", "--max-time", "5", url])
    }

    /// Like [`crate::cluster::http`], from there.
    pub fn http(&self, address: IpAddr, port: u16, path: &str) -> Ran {
        self.curl(&format!("http://{address}:{port}{path}"))
    }
}

/// The command, to be run in a network namespace.
pub(crate) fn inside(pin: &Path, command: &Command) -> Command {
    let mut inside = Command::new("nsenter");
    inside.arg(format!("--net={}", pin.display())).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside
}
