/* The metadata noken.history: a JSON array of the command lines that made a set, each quoted for a
 * POSIX shell, without what differs between two runs on the same data: directories, the name of the
 * output, --shard and --threads.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/options.h"
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

/* Whether an option says where the work is done or which part of it (a history has no names of
 * hosts), or where its result goes. */
static bool is_place(const char *option) {
  static const char *const names[] = {"threads", "gpu-layers", "rpc", "shard", "output"};
  for (size_t i = 0; option != NULL && i < sizeof names / sizeof *names; i++)
    if (strcmp(option, names[i]) == 0) return true;
  return false;
}

/* Argument i as the history has it: false where nothing is left of it. */
static bool shorten(struct nk_buffer *word, const char *argument, const struct cli_word *what) {
  nk_buffer_clear(word);
  if (is_place(what->option)) { /* of "-qo" the "-q" stays */
    nk_buffer_append(word, argument, what->begin);
    return what->begin > 1;
  }
  size_t n;
  const char *rest = base_name(argument + what->value, &n);
  nk_buffer_append(word, argument, what->value);
  nk_buffer_append(word, rest, n);
  return true;
}

static int command_line(struct nk_buffer *out, const struct cli_tool *tool, int argc,
                        char *const *argv) {
  struct nk_buffer word = {0};
  struct cli_word *words = nk_alloc((size_t)argc, sizeof *words);
  int code = words != NULL ? cli_options_words(tool, argc, argv, words) : NK_EMEMORY;
  nk_buffer_text(out, tool->name);
  for (int i = 1; i < argc && code == NK_OK; i++) {
    if (!shorten(&word, argv[i], &words[i])) continue;
    nk_buffer_byte(out, ' ');
    quote(out, word.size > 0 ? word.data : "", word.size);
  }
  if (word.failed) out->failed = true;
  nk_buffer_free(&word);
  nk_free(words);
  return code;
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

int cli_add_history(struct nk_vectors *set, const struct cli_tool *tool, int argc,
                    char *const *argv) {
  struct nk_buffer line = {0};
  json_t *history = read_history(set);
  if (history == NULL) return nk_error_code();
  int code = command_line(&line, tool, argc, argv);
  if (code == NK_OK &&
      (line.failed || json_array_append_new(history, json_stringn(line.data, line.size)) != 0))
    code = nk_fail(NK_EMEMORY, "%s: out of memory", key);
  if (code == NK_OK) code = write_history(set, history);
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
