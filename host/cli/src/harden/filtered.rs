//! The kernel's other part: system calls that no run needs fail, by seccomp, in every thread and child.
//!
//! It is a list of what is refused and not of what is allowed: what a library asks the system for changes with its versions, and a
//! call that nobody foresaw should not end a pipeline. What is refused has been the way out of other sandboxes, or reaches other
//! processes and the machine itself.

use std::{collections::BTreeMap, env::consts::ARCH};

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads,
};

/// Refused from before the first thread on.
const NEVER: [c_long; 53] = [
    // Other processes, and what they have open.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // File systems, and files by what is no path.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces and personalities.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_personality,
    // Large doors into the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

/// The same where only one kind of processor has them.
#[cfg(target_arch = "x86_64")]
const HERE: [c_long; 5] =
    [libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_kexec_file_load, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const HERE: [c_long; 0] = [];

/// What starts programs.
const START: [c_long; 2] = [libc::SYS_execve, libc::SYS_execveat];

/// Families of sockets that there are.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Puts letters into the terminal's input, as if its user had typed them.
const TYPED: [u64; 2] = [0x5412, 0x541c];

/// The bit by which x86-64 has every call a second time.
#[cfg(target_arch = "x86_64")]
const TWICE: Option<c_long> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const TWICE: Option<c_long> = None;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refuses what no run needs to this thread, and those that it starts.
///
/// # Errors
/// Why it cannot.
pub(super) fn restrict() -> Result<(), String> {
    let mut rules = refused(NEVER.into_iter().chain(HERE));
    let family = |family: i32| condition(0, SeccompCmpOp::Ne, u64::try_from(family).unwrap_or_default());
    let others = FAMILIES.into_iter().map(family).collect::<Result<Vec<_>, _>>()?;
    refuse_where(&mut rules, libc::SYS_socket, vec![rule(others)?]);
    let typed = TYPED.into_iter().map(|code| rule(vec![condition(1, SeccompCmpOp::Eq, code)?]));
    refuse_where(&mut rules, libc::SYS_ioctl, typed.collect::<Result<Vec<_>, String>>()?);
    apply_filter(&program(rules)?).map_err(|error| error.to_string())
}

/// From here on no thread of this process starts a program.
///
/// # Errors
/// Why it cannot.
pub(super) fn start_nothing() -> Result<(), String> {
    apply_filter_all_threads(&program(refused(START.into_iter()))?).map_err(|error| error.to_string())
}

fn refused(calls: impl Iterator<Item = c_long>) -> Rules {
    let mut rules = Rules::new();
    calls.for_each(|call| refuse_where(&mut rules, call, Vec::new()));
    rules
}

/// Refuses `call` where one of `cases` fits; everywhere if there is none.
fn refuse_where(rules: &mut Rules, call: c_long, cases: Vec<SeccompRule>) {
    if let Some(bit) = TWICE {
        rules.insert(call | bit, cases.clone());
    }
    rules.insert(call, cases);
}

fn condition(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value).map_err(|error| error.to_string())
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions).map_err(|error| error.to_string())
}

fn program(rules: Rules) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(ARCH).map_err(|error| error.to_string())?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch);
    filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind, net::TcpListener, os::unix::net::UnixDatagram, process::Command};

    use super::*;

    fn apart<T: Send + 'static>(deeds: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(deeds).join().unwrap()
    }

    #[test]
    fn a_filtered_thread_can_do_what_runs_do() {
        apart(|| {
            restrict().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(UnixDatagram::unbound().unwrap());
            assert!(fs::read("/proc/self/stat").is_ok());
            // To compile a plugin takes a process of its own.
            assert!(Command::new("true").status().unwrap().success());
            // Those that it starts are held to it.
            let status = apart(|| fs::read_to_string("/proc/thread-self/status").unwrap());
            assert!(status.contains("Seccomp:\t2"), "{status}");
        });
    }

    #[test]
    fn after_the_start_no_program_is_started() {
        apart(|| {
            // As for all threads, but other tests are not held to it.
            apply_filter(&program(refused(START.into_iter())).unwrap()).unwrap();
            let refused = Command::new("true").status();
            assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        });
    }
}
