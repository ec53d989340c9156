/* Other programs. The input is a file in memory, not a pipe, so that nothing has to be written
 * while the program's output is read: neither process can wait for the other. */
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A file in memory that contains input, open at its beginning; -1 on failure. */
static int memory_file(const struct nk_buffer *input) {
  int file = memfd_create("noken", MFD_CLOEXEC);
  for (size_t done = 0; file >= 0 && input != NULL && done < input->size;) {
    ssize_t n = write(file, input->data + done, input->size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      close(file);
      return -1;
    }
    done += (size_t)n;
  }
  if (file >= 0) lseek(file, 0, SEEK_SET);
  return file;
}

/* This process's environment, with a fixed time zone and locale and without gnuplot's choice of a
 * terminal: what another program writes must not depend on them. */
static char **child_environment(void) {
  static char zone[] = "TZ=UTC", locale[] = "LC_ALL=C.UTF-8";
  size_t n = 0, kept = 0;
  while (environ[n] != NULL) n++;
  char **copy = nk_alloc(n + 3, sizeof *copy);
  if (copy == NULL) return NULL;
  for (size_t i = 0; i < n; i++) {
    const char *name = environ[i];
    if (strncmp(name, "TZ=", 3) == 0 || strncmp(name, "LC_ALL=", 7) == 0 ||
        strncmp(name, "GNUTERM=", 8) == 0)
      continue;
    copy[kept++] = environ[i];
  }
  copy[kept++] = zone;
  copy[kept++] = locale;
  copy[kept] = NULL;
  return copy;
}

/* Starts command; returns 0 or an errno. A child inherits ignored signals: those that the tools
 * ignore are set back to their defaults. */
static int start(const char *const *command, int input, int output, int errors, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t defaults;
  char **environment = child_environment();
  if (environment == NULL) return ENOMEM;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGXFSZ);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  int failed =
      posix_spawnp(pid, command[0], &actions, &attributes, (char *const *)command, environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  nk_free(environment);
  return failed;
}

/* Appends what can be read now. Returns a positive number, 0 at the end of the file, or -1. */
static ssize_t drain(int file, struct nk_buffer *buffer) {
  char block[65536];
  ssize_t n = read(file, block, sizeof block);
  if (n < 0) return errno == EINTR || errno == EAGAIN ? 1 : -1;
  if (n > 0) nk_buffer_append(buffer, block, (size_t)n);
  return n;
}

/* Reads both files to their ends. False, with errno, where one cannot be read. */
static bool drain_both(const int files[2], struct nk_buffer *output, struct nk_buffer *errors) {
  struct pollfd polls[2] = {{.fd = files[0], .events = POLLIN}, {.fd = files[1], .events = POLLIN}};
  struct nk_buffer *buffers[2] = {output, errors};
  while (polls[0].fd >= 0 || polls[1].fd >= 0) {
    if (poll(polls, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    for (int i = 0; i < 2; i++) {
      if (polls[i].fd < 0 || polls[i].revents == 0) continue;
      ssize_t n = drain(polls[i].fd, buffers[i]);
      if (n < 0) return false;
      if (n == 0) polls[i].fd = -1;
    }
  }
  return true;
}

static void close_pipe(int ends[2]) {
  for (int i = 0; i < 2; i++)
    if (ends[i] >= 0) close(ends[i]);
  ends[0] = ends[1] = -1;
}

/* Waits for the process to end. */
static int await(const char *program, pid_t pid, int *status) {
  while (waitpid(pid, status, 0) < 0)
    if (errno != EINTR) return nk_fail_errno("%s", program);
  return NK_OK;
}

int cli_process_run(const char *const *command, const struct nk_buffer *input,
                    struct nk_buffer *output, struct nk_buffer *errors, int *status) {
  int out[2] = {-1, -1}, err[2] = {-1, -1}, code = NK_OK;
  pid_t pid = -1;
  int in = memory_file(input);
  if (in < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
    code = nk_fail_errno("%s: no pipe to it", command[0]);
    goto done;
  }
  int failed = start(command, in, out[1], err[1], &pid);
  if (failed != 0) {
    errno = failed;
    code = failed == ENOENT ? nk_fail(NK_ENOTFOUND, "%s: no such program", command[0])
                            : nk_fail_errno("%s", command[0]);
    goto done;
  }
  close(out[1]);
  close(err[1]);
  out[1] = err[1] = -1;
  bool complete = drain_both((int[2]){out[0], err[0]}, output, errors);
  if (!complete) code = nk_fail_errno("%s: its output", command[0]);
  close_pipe(out); /* a program that still writes ends */
  close_pipe(err);
  int waited = await(command[0], pid, status);
  if (code == NK_OK) code = waited;
  if (code == NK_OK && (output->failed || errors->failed))
    code = nk_fail(NK_EMEMORY, "%s: out of memory for its output", command[0]);
done:
  close_pipe(out);
  close_pipe(err);
  if (in >= 0) close(in);
  return code;
}
