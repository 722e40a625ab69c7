//! Machines of a cluster, observed and damaged past the manager.

use crate::{Cluster, HostContainer};
use std::{collections::BTreeMap, path::PathBuf};

impl Cluster {
    pub async fn machines(&self) -> Vec<HostContainer> {
        self.host.machines(&self.remains.network).await
    }

    /// The machine of this tag.
    pub async fn machine(&self, tag: &str) -> HostContainer {
        let view = self.look().await.unwrap_or_default();
        let instance = view
            .in_use()
            .into_iter()
            .find(|it| it.tag.as_str() == tag)
            .map(|it| it.id.to_string());
        let is_it = |machine: &HostContainer| {
            machine.tag == tag || Some(&machine.instance) == instance.as_ref()
        };
        self.machines()
            .await
            .into_iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("no machine has the tag {tag}"))
    }

    /// Root folder of a machine, as this process reaches it.
    pub async fn machine_root(&self, tag: &str) -> PathBuf {
        let pid = self.host.pid(&self.machine(tag).await.id).await;
        PathBuf::from(format!("/proc/{pid}/root"))
    }

    /// The engine's id of the container with this host name on a machine, and its root folder.
    pub async fn container_root(&self, tag: &str, hostname: &str) -> (String, PathBuf) {
        let format = "{{.Config.Hostname}} {{.Id}} {{.State.Pid}}";
        let script = format!("docker ps -q | xargs docker inspect --format '{format}'");
        let all = self.on_machine(tag, &script).await;
        let fields = all
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[0] == hostname)
            .unwrap_or_else(|| panic!("no container {hostname}: {all}"));
        let root = self.machine_root(tag).await;
        (
            fields[1].to_owned(),
            root.join(format!("proc/{}/root", fields[2])),
        )
    }

    /// Cuts a machine's power.
    pub async fn kill_machine(&self, tag: &str) {
        self.host.kill(&self.machine(tag).await.id).await;
    }

    /// Runs a script on a machine, beside its engine.
    pub async fn on_machine(&self, tag: &str, script: &str) -> String {
        self.host.run(&self.machine(tag).await.id, script).await
    }

    /// Drops packets between a machine and the manager's API: its agent is cut off, its Swarm node
    /// is not. No connection is closed.
    pub async fn cut_agent(&self, tag: &str) {
        let port = self.port;
        self.on_machine(tag, &format!("iptables -I OUTPUT -p tcp --dport {port} -j DROP && iptables -I INPUT -p tcp --sport {port} -j DROP")).await;
    }

    /// Ends [`Cluster::cut_agent`].
    pub async fn mend_agent(&self, tag: &str) {
        let port = self.port;
        self.on_machine(tag, &format!("iptables -D OUTPUT -p tcp --dport {port} -j DROP && iptables -D INPUT -p tcp --sport {port} -j DROP")).await;
    }

    /// Drops packets between a machine and all others.
    pub async fn cut_off(&self, tag: &str) {
        self.on_machine(tag, "iptables -t raw -I OUTPUT -o eth0 -j DROP && iptables -t raw -I PREROUTING -i eth0 -j DROP").await;
    }

    /// Ends [`Cluster::cut_off`].
    pub async fn mend(&self, tag: &str) {
        self.on_machine(tag, "iptables -t raw -D OUTPUT -o eth0 -j DROP && iptables -t raw -D PREROUTING -i eth0 -j DROP").await;
    }

    /// Process id of the agent on a machine.
    pub async fn agent_pid(&self, tag: &str) -> String {
        self.on_machine(tag, "pidof micado-node || true").await
    }

    /// Kernel counters of the one running container of a machine: the time, in milliseconds since
    /// the Unix epoch, and the CPU time until then, in nanoseconds.
    pub async fn cpu_counted(&self, tag: &str) -> (u64, u64) {
        let script = r"
            pid=$(docker inspect --format '{{.State.Pid}}' $(docker ps --quiet))
            group=$(sed -n 's/^[0-9]*:[^:]*cpuacct[^:]*://p' /proc/$pid/cgroup)
            date +%s%3N
            if [[ -n $group ]]; then cat /sys/fs/cgroup/cpuacct$group/cpuacct.usage
            else sed -n 's/^usage_usec \(.*\)/\1000/p' /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$pid/cgroup)/cpu.stat
            fi";
        let text = self.on_machine(tag, script).await;
        let numbers: Vec<u64> = text
            .lines()
            .map(|line| line.parse().unwrap_or_else(|_| panic!("no number: {text}")))
            .collect();
        let [at, used] = numbers[..] else {
            panic!("two numbers: {text}")
        };
        (at, used)
    }

    /// Peak of the manager's memory, in MiB.
    #[must_use]
    pub fn manager_peak(&self) -> u64 {
        peak(
            &std::fs::read_to_string(format!("/proc/{}/status", self.manager_pid()))
                .expect("the manager runs"),
        )
    }

    /// Peak of memory of the agent on a machine, in MiB.
    pub async fn agent_peak(&self, tag: &str) -> u64 {
        peak(
            &self
                .on_machine(tag, "cat /proc/$(pidof micado-node)/status")
                .await,
        )
    }

    /// Running containers of all machines, by the engines' ids, each with its start time and
    /// process.
    pub async fn containers_started(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for machine in self.machines().await {
            let listed = self.host.run(&machine.id, "docker ps -q | xargs -r docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.State.Pid}}'").await;
            all.extend(
                listed
                    .lines()
                    .filter_map(|line| line.split_once(' '))
                    .map(|(id, started)| (id.to_owned(), started.to_owned())),
            );
        }
        all
    }
}

/// Peak of a process, from its `status` in `/proc`, which counts in KiB.
fn peak(status: &str) -> u64 {
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a process with memory");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        >> 10
}
