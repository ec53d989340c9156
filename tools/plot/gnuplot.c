/* The pipe to gnuplot. The script, with its data inline, lies in an unnamed file in memory that
 * becomes gnuplot's standard input, so nothing waits for anything: gnuplot reads at its own pace
 * while its picture is read here. */
#include <errno.h>
#include <fcntl.h>
#include <noken/base.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plot/internal.h"

/* ---- Running a program ---- */

/* A file without a name that holds input, at its beginning; -1 on failure. */
static int memory_file(const struct nk_buffer *input) {
  int file = memfd_create("noken", MFD_CLOEXEC);
  for (size_t done = 0; file >= 0 && input && done < input->size;) {
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

/* The environment with what would change a picture taken out: its time zone and locale. */
static char **child_environment(void) {
  static char zone[] = "TZ=UTC", locale[] = "LC_ALL=C.UTF-8";
  size_t n = 0, kept = 0;
  while (environ[n]) n++;
  char **copy = nk_alloc(n + 3, sizeof *copy);
  if (!copy) return NULL;
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

/* Ignored signals stay ignored in a child: SIGPIPE, which tools ignore, gets its default back. */
static int start(const char *const *command, int input, int output, int errors, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t defaults;
  char **environment = child_environment();
  if (!environment) return ENOMEM;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
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

/* Appends what can be read now; false at the end. */
static bool drain(int file, struct nk_buffer *buffer) {
  char block[65536];
  ssize_t n = read(file, block, sizeof block);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n > 0) nk_buffer_append(buffer, block, (size_t)n);
  return n > 0;
}

static void drain_both(const int files[2], struct nk_buffer *output, struct nk_buffer *errors) {
  struct pollfd polls[2] = {{.fd = files[0], .events = POLLIN}, {.fd = files[1], .events = POLLIN}};
  struct nk_buffer *buffers[2] = {output, errors};
  while (polls[0].fd >= 0 || polls[1].fd >= 0) {
    if (poll(polls, 2, -1) < 0 && errno != EINTR) return;
    for (int i = 0; i < 2; i++)
      if (polls[i].fd >= 0 && polls[i].revents && !drain(polls[i].fd, buffers[i])) polls[i].fd = -1;
  }
}

int plot_run(const char *const *command, const struct nk_buffer *input, struct nk_buffer *output,
             struct nk_buffer *errors, int *status) {
  int out[2] = {-1, -1}, err[2] = {-1, -1};
  int in = memory_file(input), code = 0;
  if (in < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
    code = nk_fail_errno("%s: cannot be given its input", command[0]);
    goto done;
  }
  pid_t pid;
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
  drain_both((int[2]){out[0], err[0]}, output, errors);
  while (waitpid(pid, status, 0) < 0)
    if (errno != EINTR) {
      code = nk_fail_errno("%s", command[0]);
      break;
    }
  if (output->failed || errors->failed) code = nk_fail(NK_EMEMORY, "no memory for a picture");
done:
  for (int i = 0; i < 2; i++) {
    if (out[i] >= 0) close(out[i]);
    if (err[i] >= 0) close(err[i]);
  }
  if (in >= 0) close(in);
  return code;
}

/* ---- gnuplot ---- */

/* The last line of text that says something, cut to a sentence's length. */
static void last_line(struct nk_buffer *text, char *line, size_t size) {
  line[0] = 0;
  if (text->size == 0) return;
  char *rest = text->data, *piece;
  while ((piece = strsep(&rest, "\n"))) {
    piece += strspn(piece, " \t");
    if (*piece == 0 || *piece == '^' || strlen(piece) >= size) continue;
    memcpy(line, piece, strlen(piece) + 1);
  }
}

/* cairo writes the time of day into a PDF: "/CreationDate (D:20260102030405Z)". The same table is
 * to give the same file, so all are from the same second. */
static void remove_date(struct nk_buffer *picture) {
  static const char key[] = "/CreationDate (D:", fixed[] = "20000101000000";
  size_t length = sizeof key - 1, digits = sizeof fixed - 1;
  for (char *p = picture->data, *end = p + picture->size;;) {
    p = memmem(p, (size_t)(end - p), key, length);
    if (!p || (size_t)(end - p) < length + digits) return;
    memcpy(p + length, fixed, digits);
    p += length;
  }
}

int plot_gnuplot(const struct nk_buffer *script, struct nk_buffer *picture) {
  static const char *const command[] = {"gnuplot", "--default-settings", NULL};
  struct nk_buffer errors = {0};
  int status;
  int code = plot_run(command, script, picture, &errors, &status);
  if (code == NK_ENOTFOUND) {
    code = nk_fail(NK_EIO, "gnuplot is not installed (Debian: gnuplot-nox)");
  } else if (code == NK_OK && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
    char line[256];
    last_line(&errors, line, sizeof line);
    code = WIFSIGNALED(status)
               ? nk_fail(NK_EIO, "gnuplot was ended by signal %d: %s", WTERMSIG(status), line)
               : nk_fail(NK_EIO, "gnuplot failed: %s", line[0] ? line : "it gave no reason");
  } else if (code == NK_OK && picture->size == 0) {
    char line[256];
    last_line(&errors, line, sizeof line);
    code = nk_fail(NK_EIO, "gnuplot drew nothing: %s", line[0] ? line : "it gave no reason");
  }
  if (code == NK_OK) remove_date(picture);
  nk_buffer_free(&errors);
  return code;
}

/* ---- Templates ---- */

static char *path_in(const char *folder, size_t length, const char *middle, const char *name) {
  struct nk_buffer path = {0};
  nk_buffer_append(&path, folder, length);
  nk_buffer_printf(&path, "%s/%s", middle, name);
  char *copy = path.failed ? NULL : nk_strdup(path.data);
  nk_buffer_free(&path);
  return copy;
}

/* share/noken/plots beside the folder that holds the program: an installed tree and the build
 * folder have the same layout. */
static char *path_beside_program(const char *name) {
  char *real = realpath("/proc/self/exe", NULL);
  const char *slash = real == NULL ? NULL : strrchr(real, '/');
  char *path = NULL;
  if (slash != NULL) path = path_in(real, (size_t)(slash - real), "/../share/noken/plots", name);
  if (path != NULL && access(path, R_OK) != 0) {
    nk_free(path);
    path = NULL;
  }
  free(real);
  return path;
}

char *plot_template_path(const char *name) {
  const char *asked = getenv("NOKEN_PLOTS");
  char *path = asked && *asked ? NULL : path_beside_program(name);
  if (path) return path;
  const char *folder = asked && *asked ? asked : NOKEN_PLOTS_DIR;
  path = path_in(folder, strlen(folder), "", name);
  if (path && access(path, R_OK) != 0) {
    nk_fail(NK_ENOTFOUND, "%s: no such template (NOKEN_PLOTS names the folder they are in)", path);
    nk_free(path);
    return NULL;
  }
  return path;
}
