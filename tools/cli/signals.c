/* Signals. The handler of SIGBUS calls only functions that are safe in a handler. */
#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static const char *tool_name = "";

/* ---- A line without stdio ---- */

struct line {
  char text[1024];
  size_t n;
};

static void append(struct line *line, const char *text) {
  for (; *text != 0 && line->n + 1 < sizeof line->text; text++) line->text[line->n++] = *text;
}

/* Appends a path, its control bytes as \xNN. */
static void append_path(struct line *line, const char *path) {
  static const char digits[] = "0123456789ABCDEF";
  for (; *path != 0; path++) {
    unsigned char c = (unsigned char)*path;
    const char escaped[] = {'\\', 'x', digits[c >> 4], digits[c & 15], 0}, plain[] = {*path, 0};
    append(line, c < 0x20 || c == 0x7F ? escaped : plain);
  }
}

/* ---- Which file is mapped at an address ---- */

/* The next byte of the file, or -1 at its end. */
static int next_byte(int file, char *block, size_t size, size_t *at, size_t *n) {
  if (*at == *n) {
    ssize_t got = read(file, block, size);
    if (got <= 0) return -1;
    *n = (size_t)got;
    *at = 0;
  }
  return (unsigned char)block[(*at)++];
}

static bool take_hex(int c, uintptr_t *value) {
  int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  if (digit >= 0) *value = *value << 4 | (uintptr_t)digit;
  return digit >= 0;
}

/* Sets path to that of the file in the line of /proc/self/maps whose range has the address:
 *   7f3c-7f3d r--p 00000000 fe:00 1234    /folder/file
 * "" where there is none. */
static void find_mapping(uintptr_t address, char *path, size_t size) {
  char block[512];
  size_t at = 0, n = 0, used = 0;
  int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), c = 0;
  while (file >= 0 && c >= 0 && used == 0) {
    uintptr_t first = 0, end = 0;
    do c = next_byte(file, block, sizeof block, &at, &n);
    while (take_hex(c, &first));
    do c = next_byte(file, block, sizeof block, &at, &n);
    while (take_hex(c, &end));
    bool found = address >= first && address < end, in_path = false;
    for (; c >= 0 && c != '\n'; c = next_byte(file, block, sizeof block, &at, &n)) {
      in_path = in_path || c == '/';
      if (found && in_path && used + 1 < size) path[used++] = (char)c;
    }
  }
  path[used] = 0;
  if (file >= 0) close(file);
}

static void report_bus_error(int signal_number, siginfo_t *info, void *context) {
  (void)signal_number;
  (void)context;
  char path[768];
  struct line line = {.n = 0};
  find_mapping((uintptr_t)info->si_addr, path, sizeof path);
  append(&line, tool_name);
  append(&line, ": ");
  if (path[0] != 0) append_path(&line, path);
  append(&line, path[0] != 0 ? ": " : "");
  append(&line, "became shorter, or could not be read, while it was in use\n");
  ssize_t unused = write(STDERR_FILENO, line.text, line.n);
  (void)unused;
  _exit(1);
}

/* ---- The beginning of a process ---- */

/* A closed descriptor is opened the wrong way round, so that its use fails as before. */
static void open_standard_files(void) {
  for (int file = 0; file <= STDERR_FILENO; file++)
    if (fcntl(file, F_GETFD) < 0 && errno == EBADF) {
      int opened = open("/dev/null", file == STDIN_FILENO ? O_WRONLY : O_RDONLY);
      (void)opened; /* the lowest free number: file */
    }
}

void cli_catch_signals(const char *tool) {
  struct sigaction action = {.sa_sigaction = report_bus_error, .sa_flags = SA_SIGINFO};
  tool_name = tool;
  open_standard_files();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}
