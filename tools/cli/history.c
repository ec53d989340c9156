/* The metadata noken.history: a JSON array of the command lines that made a set, each quoted for a
 * POSIX shell, without what differs between two runs on the same data: directories, the name of the
 * output, --shard and --threads.
 */
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
  bool found = copy != NULL && stat(copy, &status) == 0 && S_ISDIR(status.st_mode);
  nk_free(copy);
  return found;
}

/* Is argument [n], whose last '/' is at `slash`, the path of a file? It is where its directory
 * exists, or where it begins as a path does and has no space. (The prompt "yes/no?" and the model
 * name openai-community/gpt2 are not paths.) */
static bool is_path(const char *argument, size_t n, size_t slash) {
  if (is_directory(argument, slash == 0 ? 1 : slash)) return true;
  if (memchr(argument, ' ', n) != NULL) return false;
  return argument[0] == '/' || strncmp(argument, "./", 2) == 0 ||
         strncmp(argument, "../", 3) == 0 || strncmp(argument, "~/", 2) == 0;
}

/* The base name of a path, and its length in *n; the whole argument where it is not a path. */
static const char *base_name(const char *argument, size_t *n) {
  *n = strlen(argument);
  size_t end = *n;
  while (end > 1 && argument[end - 1] == '/') end--;
  const char *slash = memrchr(argument, '/', end);
  if (slash == NULL || end == 1 || !is_path(argument, *n, (size_t)(slash - argument)))
    return argument;
  *n = end - (size_t)(slash + 1 - argument);
  return slash + 1;
}

/* Appends bytes [n] as one word of a POSIX shell: plain, in '...', or in $'...' where they are not
 * one line of text. */
static void quote(struct nk_buffer *out, const char *bytes, size_t n) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  bool is_plain = n > 0, is_text = true;
  for (size_t i = 0, length; i < n; i += length) {
    length = nk_utf8_length(bytes + i, n - i);
    if (length == 0 || (unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) is_text = false;
    if (strchr(plain, bytes[i]) == NULL) is_plain = false;
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

void cli_quote_command(struct nk_buffer *out, int argc, char *const *argv) {
  for (int i = 0; i < argc; i++) {
    if (i > 0) nk_buffer_byte(out, ' ');
    quote(out, argv[i], strlen(argv[i]));
  }
}

/* The length of the option before a value that is attached to it: --output=/tmp/x, -o/tmp/x. */
static size_t option_length(const char *argument) {
  if (argument[0] != '-' || argument[1] == 0) return 0;
  if (argument[1] != '-') return 2;
  const char *equals = strchr(argument, '=');
  return equals != NULL ? (size_t)(equals + 1 - argument) : strlen(argument);
}

/* The number of arguments, from this one on, that an option takes which says where the work is
 * done or which part of it (a history has no names of hosts), or where its result goes: 2, 1 or 0.
 * Options may be abbreviated: `least` is the length from which on no other option of the tools
 * that write histories begins so. (--t is --threads wherever it is not refused, since every tool
 * has that.) */
static int place_length(const char *argument) {
  static const struct {
    const char *name;
    size_t least;
  } options[] = {
      {"--threads", 3}, {"--gpu-layers", 4}, {"--rpc", 4}, {"--shard", 5}, {"--output", 4}};
  if (strncmp(argument, "-o", 2) == 0) return argument[2] == 0 ? 2 : 1;
  size_t n = strcspn(argument, "=");
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    if (n >= options[i].least && strncmp(argument, options[i].name, n) == 0)
      return argument[n] == 0 ? 2 : 1;
  return 0;
}

static void command_line(struct nk_buffer *out, int argc, char *const *argv) {
  struct nk_buffer word = {0};
  for (int i = 0, skip; i<argc; i += skip> 0 ? skip : 1) {
    if ((skip = place_length(argv[i])) > 0) continue;
    size_t option = i == 0 ? 0 : option_length(argv[i]), n;
    const char *rest = base_name(argv[i] + option, &n);
    if (i == 0) { /* the tool, without its directory */
      const char *slash = strrchr(argv[0], '/');
      rest = slash != NULL ? slash + 1 : argv[0];
      n = strlen(rest);
    }
    nk_buffer_clear(&word);
    nk_buffer_append(&word, argv[i], option);
    nk_buffer_append(&word, rest, n);
    if (i > 0) nk_buffer_byte(out, ' ');
    quote(out, word.size > 0 ? word.data : "", word.size);
  }
  if (word.failed) out->failed = true;
  nk_buffer_free(&word);
}

/* The array in the set's metadata, or a new one. NULL on failure. */
static json_t *read_history(const struct nk_vectors *set) {
  const char *past = nk_vectors_metadata(set, key);
  json_error_t error = {0};
  if (past == NULL) {
    json_t *empty = json_array();
    if (empty == NULL) nk_fail(NK_EMEMORY, "%s: out of memory", key);
    return empty;
  }
  if (strlen(past) > MAX_HISTORY) {
    nk_fail(NK_EDATA, "%s: longer than %d bytes", key, MAX_HISTORY);
    return NULL;
  }
  json_t *history = json_loads(past, 0, &error);
  if (history == NULL)
    nk_fail(NK_EDATA, "%s: line %d, column %d: %s", key, error.line, error.column, error.text);
  if (history == NULL || json_typeof(history) == JSON_ARRAY) return history;
  json_decref(history);
  nk_fail(NK_EDATA, "%s: not a JSON array", key);
  return NULL;
}

static int write_history(struct nk_vectors *set, const json_t *history) {
  char *text = json_dumps(history, JSON_COMPACT);
  int code = text != NULL ? nk_vectors_set_metadata(set, key, text)
                          : nk_fail(NK_EMEMORY, "%s: out of memory", key);
  free(text);
  return code;
}

int cli_add_history(struct nk_vectors *set, int argc, char *const *argv) {
  struct nk_buffer line = {0};
  json_t *history = read_history(set);
  if (history == NULL) return nk_error_code();
  command_line(&line, argc, argv);
  int code = line.failed || json_array_append_new(history, json_stringn(line.data, line.size)) != 0
                 ? nk_fail(NK_EMEMORY, "%s: out of memory", key)
                 : write_history(set, history);
  json_decref(history);
  nk_buffer_free(&line);
  return code;
}

static bool has_line(const json_t *history, const json_t *line) {
  for (size_t i = 0; i < json_array_size(history); i++)
    if (json_equal(json_array_get(history, i), line)) return true;
  return false;
}

int cli_join_history(struct nk_vectors *set, const struct nk_vectors *from) {
  if (nk_vectors_metadata(from, key) == NULL) return NK_OK;
  json_t *history = read_history(set), *other = history != NULL ? read_history(from) : NULL;
  int code = other != NULL ? NK_OK : nk_error_code();
  for (size_t i = 0; i < json_array_size(other) && code == NK_OK; i++) {
    json_t *line = json_array_get(other, i);
    if (!has_line(history, line) && json_array_append(history, line) != 0)
      code = nk_fail(NK_EMEMORY, "%s: out of memory", key);
  }
  if (code == NK_OK) code = write_history(set, history);
  json_decref(other);
  json_decref(history);
  return code;
}
