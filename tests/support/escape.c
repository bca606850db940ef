/* A guest that got out of its sandbox, for tests: it is loaded into `spout` by LD_PRELOAD, and when a certain line of a guest's is
   logged, it does in the host's own thread what such a guest would. What came of each deed is said on standard error, as
   `escaped NAME ERRNO`, with 0 for one that was done. SPOUT_TEST_ESCAPE has: a file to read, one to make, a port to connect to, and
   a process to signal. Deeds are written so that those which are done do no harm. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, int error) {
  char line[100];
  int length = snprintf(line, sizeof line, "escaped %s %d\n", what, error);
  syscall(SYS_write, 2, line, length);
}

static void came(const char *what, long answer) { say(what, answer < 0 ? errno : 0); }

static void in_child(const char *what, int (*deed)(void)) {
  pid_t child = fork();
  if (child == 0) _exit(deed());
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) return came(what, -1);
  say(what, WIFEXITED(status) ? WEXITSTATUS(status) : 255);
}

static int be_traced(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 ? errno : 0; }

static int run_program(void) {
  unsetenv("LD_PRELOAD");
  execl("/bin/true", "true", (char *)0);
  return errno;
}

static int run_itself(void) {
  unsetenv("LD_PRELOAD");
  int null = open("/dev/null", O_WRONLY);
  dup2(null, 1);
  execl("/proc/self/exe", "spout", "--version", (char *)0);
  return errno;
}

#define CALL(name) came("call-" #name, syscall(SYS_##name, -1L, -1L, -1L, -1L, -1L, -1L))

static void deeds(void) {
  char text[4096];
  const char *given = getenv("SPOUT_TEST_ESCAPE");
  snprintf(text, sizeof text, "%s", given ? given : "");
  char *rest = text;
  const char *read_this = strsep(&rest, " "), *make_this = strsep(&rest, " ");
  const char *port = strsep(&rest, " "), *process = strsep(&rest, " ");
  if (!process) return say("nothing", 0);
  say("abi", (int)syscall(SYS_landlock_create_ruleset, 0L, 0L, 1L));
  came("read", open(read_this, O_RDONLY | O_CLOEXEC));
  came("make", open(make_this, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  came("list", open("/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  came("connect", connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address));
  address.sin_port = 0;
  came("listen", bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address));
  came("crypto-socket", socket(AF_ALG, SOCK_SEQPACKET, 0));
  came("signal", kill(atoi(process), 0));
  in_child("traced", be_traced);
  in_child("program", run_program);
  in_child("itself", run_itself);
  CALL(ptrace); CALL(process_vm_readv); CALL(process_vm_writev); CALL(kcmp); CALL(mount); CALL(umount2); CALL(pivot_root);
  CALL(chroot); CALL(open_by_handle_at); CALL(name_to_handle_at); CALL(fanotify_init); CALL(swapon); CALL(swapoff);
  CALL(unshare); CALL(setns); CALL(personality); CALL(bpf); CALL(perf_event_open); CALL(userfaultfd); CALL(keyctl);
  CALL(add_key); CALL(request_key); CALL(kexec_load); CALL(init_module); CALL(finit_module); CALL(delete_module);
  CALL(reboot); CALL(acct); CALL(syslog); CALL(settimeofday); CALL(clock_settime); CALL(sethostname); CALL(setdomainname);
  CALL(io_uring_setup); CALL(pidfd_getfd); CALL(move_mount); CALL(fsopen); CALL(open_tree);
#ifdef __x86_64__
  CALL(iopl); CALL(modify_ldt);
  came("call-ptrace-x32", syscall(SYS_ptrace | 0x40000000, -1L, -1L, -1L, -1L));
#endif
  say("over", 0);
}

static atomic_int begun;

ssize_t write(int to, const void *bytes, size_t count) {
  /* Its file has the line, too, and is written to whoever compiles it. */
  if (to == 2 && memmem(bytes, count, "the guest escapes now", 21) && !atomic_exchange(&begun, 1)) deeds();
  return syscall(SYS_write, to, bytes, count);
}
