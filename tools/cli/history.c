/* noken.history: a JSON array of the command lines that made a set, each as a shell would take it.
 * Arguments that name files lose their directories, and --threads is left out: what is kept is the
 * same wherever the data lies and however it was computed. */
#include <noken/base.h>
#include <noken/vectors.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "cli/sets.h"

static const char key[] = "noken.history";

enum { MAX_HISTORY = 1 << 22 }; /* bytes: thousands of commands */

static bool is_directory(const char *path, size_t n) {
  struct stat status;
  char *copy = nk_strndup(path, n);
  bool yes = copy && stat(copy, &status) == 0 && S_ISDIR(status.st_mode);
  nk_free(copy);
  return yes;
}

/* Whether argument[0..n), which has its last '/' at slash, names a file: one in a directory that is
 * there, or what is written like a path and holds no space. (A prompt such as "yes/no?" is not, nor
 * is a model's name such as openai-community/gpt2.) */
static bool is_path(const char *argument, size_t n, size_t slash) {
  if (is_directory(argument, slash == 0 ? 1 : slash)) return true;
  if (memchr(argument, ' ', n)) return false;
  return argument[0] == '/' || strncmp(argument, "./", 2) == 0 ||
         strncmp(argument, "../", 3) == 0 || strncmp(argument, "~/", 2) == 0;
}

/* Where the base name of a path begins, and in *n how long it is; `argument` itself for others. */
static const char *base_name(const char *argument, size_t *n) {
  *n = strlen(argument);
  size_t end = *n;
  while (end > 1 && argument[end - 1] == '/') end--;
  const char *slash = memrchr(argument, '/', end);
  if (!slash || end == 1 || !is_path(argument, *n, (size_t)(slash - argument))) return argument;
  *n = end - (size_t)(slash + 1 - argument);
  return slash + 1;
}

/* Bytes as one word of a POSIX shell; $'...' for what cannot stand in a line of text. */
static void quote(struct nk_buffer *out, const char *bytes, size_t n) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  bool is_plain = n > 0, is_text = true;
  for (size_t i = 0, length; i < n; i += length) {
    length = nk_utf8_length(bytes + i, n - i);
    if (length == 0 || (unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) is_text = false;
    if (!strchr(plain, bytes[i])) is_plain = false;
    if (length == 0) length = 1;
  }
  if (is_plain) {
    nk_buffer_append(out, bytes, n);
    return;
  }
  nk_buffer_text(out, is_text ? "'" : "$'");
  for (size_t i = 0, length; i < n; i += length) {
    length = nk_utf8_length(bytes + i, n - i);
    if (length == 0) length = 1;
    if (bytes[i] == '\'')
      nk_buffer_text(out, is_text ? "'\\''" : "\\'");
    else if (is_text)
      nk_buffer_append(out, bytes + i, length);
    else
      nk_escape(out, bytes + i, length);
  }
  nk_buffer_byte(out, '\'');
}

/* An option that holds a path keeps its own part: --output=/tmp/x and -o/tmp/x. */
static size_t option_length(const char *argument) {
  if (argument[0] != '-' || argument[1] == 0) return 0;
  if (argument[1] != '-') return 2;
  const char *equals = strchr(argument, '=');
  return equals ? (size_t)(equals + 1 - argument) : strlen(argument);
}

/* How many arguments, beginning with this one, say by how many threads: 2, 1 or none. */
static int threads_length(const char *argument) {
  static const char name[] = "--threads";
  size_t n = sizeof name - 1;
  if (strncmp(argument, name, n) != 0) return 0;
  return argument[n] == 0 ? 2 : argument[n] == '=' ? 1 : 0;
}

static void command_line(struct nk_buffer *out, int argc, char *const *argv) {
  struct nk_buffer word = {0};
  for (int i = 0, skip; i < argc; i += skip ? skip : 1) {
    if ((skip = threads_length(argv[i])) > 0) continue;
    size_t option = i == 0 ? 0 : option_length(argv[i]), n;
    const char *rest = base_name(argv[i] + option, &n);
    if (i == 0) { /* the tool: always without its directory */
      const char *slash = strrchr(argv[0], '/');
      rest = slash ? slash + 1 : argv[0];
      n = strlen(rest);
    }
    nk_buffer_clear(&word);
    nk_buffer_append(&word, argv[i], option);
    nk_buffer_append(&word, rest, n);
    if (i > 0) nk_buffer_byte(out, ' ');
    quote(out, word.data ? word.data : "", word.size);
  }
  if (word.failed) out->failed = true;
  nk_buffer_free(&word);
}

int cli_add_history(struct nk_vectors *set, int argc, char *const *argv) {
  const char *past = nk_vectors_metadata(set, key);
  if (past && strlen(past) > MAX_HISTORY) {
    return nk_fail(NK_EDATA, "%s: over %d bytes long", key, MAX_HISTORY);
  }
  json_error_t error;
  json_t *history = past == NULL ? json_array() : json_loads(past, 0, &error);
  if (history == NULL)
    return past == NULL ? nk_fail(NK_EMEMORY, "%s: out of memory", key)
                        : nk_fail(NK_EDATA, "%s: line %d, column %d: %s", key, error.line,
                                  error.column, error.text);
  struct nk_buffer line = {0};
  char *text = NULL;
  int code = NK_OK;
  if (past && !json_is_array(history)) code = nk_fail(NK_EDATA, "%s: not a JSON array", key);
  if (code == NK_OK) {
    command_line(&line, argc, argv);
    if (line.failed || json_array_append_new(history, json_stringn(line.data, line.size)) != 0 ||
        !(text = json_dumps(history, JSON_COMPACT))) {
      code = nk_fail(NK_EMEMORY, "%s: out of memory", key);
    }
  }
  if (code == NK_OK) code = nk_vectors_set_metadata(set, key, text);
  free(text);
  json_decref(history);
  nk_buffer_free(&line);
  return code;
}
