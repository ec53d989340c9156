/* Command lines: the values of options, the parser, the help text, lists as values. */
#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_COMMON = 7 };

static void common_options(const struct cli_tool *tool, struct cli_common *common,
                           struct cli_option out[N_COMMON]) {
  const struct cli_option options[N_COMMON] = {
      {'o', "output", CLI_OPTION_STRING, &common->output, tool->folder != NULL ? "FOLDER" : "FILE",
       tool->folder != NULL ? tool->folder : "write to FILE instead of standard output"},
      {0, "json", CLI_OPTION_FLAG, &common->json, NULL,
       "write tables as JSON Lines instead of TSV"},
      {0, "threads", CLI_OPTION_SIZE, &common->threads, "N",
       "number of threads (default: one per core)", .most = CLI_MOST_THREADS},
      {0, "seed", CLI_OPTION_SEED, &common->seed, "N", "seed of random numbers (default: 0)"},
      {'q', "quiet", CLI_OPTION_FLAG, &common->quiet, NULL, "print no warnings and no progress"},
      {'h', "help", CLI_OPTION_FLAG, &common->help, NULL, "print this help and exit"},
      {0, "version", CLI_OPTION_FLAG, &common->version, NULL, "print the version and exit"},
  };
  memcpy(out, options, sizeof options);
}

/* ---- Values ---- */

static bool parse_whole(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0) return false;
  *out = value;
  return true;
}

static bool parse_finite(const char *text, double *out) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != 0 || !isfinite(value)) return false;
  *out = value;
  return true;
}

/* The index of text among choices "a|b|c", or -1. */
static int find_choice(const char *choices, const char *text) {
  size_t n = strlen(text);
  for (int index = 0;; index++) {
    size_t length = strcspn(choices, "|");
    if (length == n && memcmp(choices, text, n) == 0) return index;
    if (choices[length] == 0) return -1;
    choices += length + 1;
  }
}

/* Makes room for one more item of a list of n, whose room is the next power of two. */
static int make_room(void **items, size_t n, size_t size) {
  if ((n & (n - 1)) != 0) return NK_OK;
  void *grown = nk_realloc(*items, n, n > 0 ? 2 * n : 1, size);
  if (grown == NULL) return NK_EMEMORY;
  *items = grown;
  return NK_OK;
}

static int append_string(struct cli_strings *list, const char *text) {
  void *items = list->item;
  int code = make_room(&items, list->n, sizeof *list->item);
  if (code != NK_OK) return code;
  list->item = items;
  list->item[list->n++] = text;
  return NK_OK;
}

/* Sets the option's target from text (NULL for a flag). `shown` is the option as messages name it.
 */
static int set_value(const struct cli_option *option, const char *shown, const char *text) {
  uint64_t whole = 0, most = option->most > 0 ? option->most : CLI_MOST;
  int choice;
  switch (option->type) {
    case CLI_OPTION_FLAG:
      *(bool *)option->target = true;
      return NK_OK;
    case CLI_OPTION_STRING:
      *(const char **)option->target = text;
      return NK_OK;
    case CLI_OPTION_LIST:
      return append_string(option->target, text);
    case CLI_OPTION_SIZE:
      if (!parse_whole(text, &whole)) break;
      if (whole > most)
        return nk_fail(NK_EUSAGE, "option %s: %s is too large: the limit is %llu", shown, text,
                       (unsigned long long)most);
      *(size_t *)option->target = (size_t)whole;
      return NK_OK;
    case CLI_OPTION_SEED:
      if (!parse_whole(text, &whole)) break;
      *(uint64_t *)option->target = whole;
      return NK_OK;
    case CLI_OPTION_NUMBER:
      if (parse_finite(text, option->target)) return NK_OK;
      return nk_fail(NK_EUSAGE, "option %s: '%s' is not a finite number", shown, text);
    case CLI_OPTION_CHOICE:
      choice = find_choice(option->argument, text);
      if (choice < 0)
        return nk_fail(NK_EUSAGE, "option %s: '%s' is not one of %s", shown, text,
                       option->argument);
      *(int *)option->target = choice;
      return NK_OK;
  }
  return nk_fail(NK_EUSAGE, "option %s: '%s' is not a whole number", shown, text);
}

/* ---- The command line ---- */

struct parser {
  const struct cli_option *own;
  size_t n_own;
  struct cli_option common[N_COMMON];
  int argc;
  char *const *argv;
  int next;               /* the argument after the one being read */
  uint64_t given;         /* a bit for each of the tool's own options */
  struct cli_word *words; /* [argc] out: what the arguments are, no target is set; or NULL */
};

static const struct cli_option *option_at(const struct parser *parser, size_t i) {
  return i < parser->n_own ? &parser->own[i] : &parser->common[i - parser->n_own];
}

/* The option with this name, or else the only one whose name begins with it. NULL on failure. */
static const struct cli_option *find_long(const struct parser *parser, const char *name,
                                          size_t length) {
  const struct cli_option *found = NULL, *second = NULL; /* the first two that begin so */
  for (size_t i = 0; i < parser->n_own + N_COMMON; i++) {
    const struct cli_option *option = option_at(parser, i);
    if (option->name == NULL || strncmp(option->name, name, length) != 0) continue;
    if (option->name[length] == 0) return option;
    if (found == NULL)
      found = option;
    else if (second == NULL)
      second = option;
  }
  if (found == NULL || length == 0) {
    nk_fail(NK_EUSAGE, "unknown option '--%.*s' (see --help)", (int)length, name);
    return NULL;
  }
  if (second == NULL) return found;
  nk_fail(NK_EUSAGE, "ambiguous option '--%.*s': --%s or --%s", (int)length, name, found->name,
          second->name);
  return NULL;
}

static const struct cli_option *find_short(const struct parser *parser, char letter) {
  for (size_t i = 0; i < parser->n_own + N_COMMON; i++)
    if (option_at(parser, i)->letter == letter) return option_at(parser, i);
  return NULL;
}

/* The option that begins at `begin` of the argument being read has that value (NULL: none), which
 * is attached to it or the next argument. */
static void note_words(struct parser *parser, const struct cli_option *option, const char *begin,
                       const char *value, bool attached) {
  int at = parser->next - (value != NULL && !attached ? 2 : 1);
  size_t before = (size_t)(begin - parser->argv[at]);
  parser->words[at] =
      (struct cli_word){.option = option->name,
                        .begin = before,
                        .value = before + (attached ? (size_t)(value - begin) : strlen(begin))};
  if (at < parser->next - 1) parser->words[at + 1] = (struct cli_word){.option = option->name};
}

/* Sets the option that begins at `begin` to the value attached to it or, without one, to the next
 * argument. */
static int take_value(struct parser *parser, const struct cli_option *option, const char *begin,
                      const char *shown, const char *attached) {
  const char *value = attached;
  bool flag = option->type == CLI_OPTION_FLAG;
  if (option >= parser->own && option < parser->own + parser->n_own)
    parser->given |= (uint64_t)1 << (option - parser->own);
  if (flag && attached != NULL) return nk_fail(NK_EUSAGE, "option %s takes no value", shown);
  if (!flag && attached == NULL && parser->next == parser->argc)
    return nk_fail(NK_EUSAGE, "option %s needs a value (%s)", shown, option->argument);
  if (!flag && attached == NULL) value = parser->argv[parser->next++];
  if (parser->words == NULL) return set_value(option, shown, value);
  note_words(parser, option, begin, value, attached != NULL);
  return NK_OK;
}

static int parse_long(struct parser *parser, const char *argument) {
  const char *text = argument + 2;
  size_t length = strcspn(text, "=");
  const struct cli_option *option = find_long(parser, text, length);
  if (option == NULL) return NK_EUSAGE;
  char shown[64];
  snprintf(shown, sizeof shown, "--%s", option->name);
  return take_value(parser, option, argument, shown,
                    text[length] == '=' ? text + length + 1 : NULL);
}

/* "-q", "-oFILE", "-o FILE", "-qo FILE" */
static int parse_short(struct parser *parser, const char *letters) {
  for (; *letters != 0; letters++) {
    const struct cli_option *option = find_short(parser, *letters);
    if (option == NULL) return nk_fail(NK_EUSAGE, "unknown option '-%c' (see --help)", *letters);
    const char shown[] = {'-', *letters, 0};
    bool flag = option->type == CLI_OPTION_FLAG;
    int code =
        take_value(parser, option, letters, shown, !flag && letters[1] != 0 ? letters + 1 : NULL);
    if (code != NK_OK || !flag) return code;
  }
  return NK_OK;
}

/* Whether one of the names in "fit, score" is this one. */
static bool is_named(const char *names, const char *name) {
  size_t n = strlen(name);
  for (; *names != 0; names += strspn(names, ", ")) {
    size_t length = strcspn(names, ",");
    if (length == n && memcmp(names, name, n) == 0) return true;
    names += length;
  }
  return false;
}

static int check_command(const struct parser *parser, const char *command) {
  for (size_t i = 0; i < parser->n_own; i++) {
    const struct cli_option *option = &parser->own[i];
    if ((parser->given >> i & 1) != 0 && option->commands != NULL &&
        !is_named(option->commands, command))
      return nk_fail(NK_EUSAGE, "option --%s is for %s, not for %s", option->name, option->commands,
                     command);
  }
  return NK_OK;
}

/* Reads all arguments; operands [*n] unless NULL. */
static int read_arguments(struct parser *parser, char **operands, size_t *n) {
  bool only_operands = false;
  int code = NK_OK;
  *n = 0;
  while (code == NK_OK && parser->next < parser->argc) {
    char *argument = parser->argv[parser->next++];
    if (only_operands || argument[0] != '-' || argument[1] == 0) {
      if (operands != NULL) operands[*n] = argument;
      ++*n;
    } else if (strcmp(argument, "--") == 0) {
      only_operands = true;
    } else if (argument[1] == '-') {
      code = parse_long(parser, argument);
    } else {
      code = parse_short(parser, argument + 1);
    }
  }
  return code;
}

int cli_options_parse(const struct cli_tool *tool, struct cli_common *common, int argc, char **argv,
                      char ***operands, size_t *n_operands) {
  struct parser parser = {
      .own = tool->options, .n_own = tool->n_options, .argc = argc, .argv = argv, .next = 1};
  common_options(tool, common, parser.common);
  *n_operands = 0;
  *operands = nk_alloc((size_t)argc + 1, sizeof **operands);
  if (*operands == NULL) return NK_EMEMORY;
  int code = read_arguments(&parser, *operands, n_operands);
  return code == NK_OK && *n_operands > 0 ? check_command(&parser, (*operands)[0]) : code;
}

int cli_options_words(const struct cli_tool *tool, int argc, char *const *argv,
                      struct cli_word *words) {
  struct cli_common unused;
  struct parser parser = {.own = tool->options,
                          .n_own = tool->n_options,
                          .argc = argc,
                          .argv = argv,
                          .next = 1,
                          .words = words};
  size_t n;
  common_options(tool, &unused, parser.common);
  memset(words, 0, (size_t)argc * sizeof *words);
  return read_arguments(&parser, NULL, &n);
}

/* ---- Help ---- */

enum { HELP_INDENT = 26, HELP_WIDTH = 79 };

/* Appends text at column HELP_INDENT, folded at spaces. */
static void append_folded(struct nk_buffer *out, const char *text) {
  size_t room = HELP_WIDTH - HELP_INDENT;
  while (*text != 0) {
    size_t n = strlen(text);
    if (n > room) {
      n = room;
      while (n > 0 && text[n] != ' ') n--;
      if (n == 0) n = room;
    }
    nk_buffer_append(out, text, n);
    nk_buffer_byte(out, '\n');
    text += n;
    while (*text == ' ') text++;
    if (*text != 0) nk_buffer_printf(out, "%*s", HELP_INDENT, "");
  }
}

static void append_option(struct nk_buffer *out, const struct cli_option *option) {
  size_t begin = out->size;
  if (option->letter != 0) nk_buffer_printf(out, "  -%c", option->letter);
  if (option->name != NULL) {
    nk_buffer_text(out, option->letter != 0 ? ", " : "      ");
    nk_buffer_printf(out, "--%s", option->name);
  }
  if (option->argument != NULL) nk_buffer_printf(out, " %s", option->argument);
  size_t used = out->size - begin;
  if (used + 2 > HELP_INDENT) {
    nk_buffer_byte(out, '\n');
    used = 0;
  }
  nk_buffer_printf(out, "%*s", (int)(HELP_INDENT - used), "");
  append_folded(out, option->help);
}

void cli_options_help(const struct cli_tool *tool, struct nk_buffer *out) {
  struct cli_common unused;
  struct cli_option common[N_COMMON];
  common_options(tool, &unused, common);
  nk_buffer_printf(out, "usage: %s %s\n%s\n\n", tool->name, tool->usage, tool->summary);
  for (size_t i = 0; i < tool->n_options; i++) append_option(out, &tool->options[i]);
  for (size_t i = 0; i < N_COMMON; i++) append_option(out, &common[i]);
  if (tool->example != NULL) nk_buffer_printf(out, "\nexample: %s\n", tool->example);
  nk_buffer_printf(out, "manual: man %s\n", tool->name);
}

/* A line for each command that text, "fit, score", names and that out does not have. */
static void list_commands(const char *text, struct nk_buffer *out) {
  while (text != NULL && *text != 0) {
    size_t n = strcspn(text, ",");
    char line[64];
    snprintf(line, sizeof line, "\n%.*s\n", (int)n, text);
    if (out->size == 0 || strstr(out->data, line) == NULL) nk_buffer_text(out, line + 1);
    text += n;
    text += strspn(text, ", ");
  }
}

static void list_option(const struct cli_option *option, struct nk_buffer *out) {
  const char *argument = option->argument == NULL ? "" : option->argument;
  if (option->name != NULL) nk_buffer_printf(out, "--%s %s\n", option->name, argument);
  if (option->letter != 0) nk_buffer_printf(out, "-%c %s\n", option->letter, argument);
}

void cli_options_list(const struct cli_tool *tool, struct nk_buffer *out) {
  struct cli_common unused;
  struct cli_option common[N_COMMON];
  common_options(tool, &unused, common);
  for (size_t i = 0; i < N_COMMON; i++) list_option(&common[i], out);
  for (size_t i = 0; i < tool->n_options; i++) list_option(&tool->options[i], out);
  for (size_t i = 0; i < tool->n_options; i++) list_commands(tool->options[i].commands, out);
}

void cli_strings_free(struct cli_strings *strings) {
  nk_free(strings->item);
  *strings = (struct cli_strings){0};
}

/* ---- Lists ---- */

/* Calls add with each item of "a,b,c". */
static int each_item(const char *option, const char *text,
                     int (*add)(void *list, const char *option, const char *item), void *list) {
  int code = NK_OK;
  for (const char *p = text; code == NK_OK;) {
    size_t length = strcspn(p, ",");
    char *item = nk_strndup(p, length);
    if (item == NULL) return NK_EMEMORY;
    code = add(list, option, item);
    nk_free(item);
    if (p[length] == 0) break;
    p += length + 1;
  }
  return code;
}

struct number_list {
  double *item;
  size_t n;
};

static int add_number(void *pointer, const char *option, const char *item) {
  struct number_list *list = pointer;
  double value;
  if (!parse_finite(item, &value))
    return nk_fail(NK_EUSAGE, "%s: '%s' is not a finite number", option, item);
  void *items = list->item;
  int code = make_room(&items, list->n, sizeof *list->item);
  if (code != NK_OK) return code;
  list->item = items;
  list->item[list->n++] = value;
  return NK_OK;
}

int cli_parse_integer(const char *option, const char *text, int64_t *value) {
  char *end;
  *value = strtoll(text, &end, 10);
  if (*end == 0 && end != text) return NK_OK;
  return nk_fail(NK_EUSAGE, "%s: '%s' is not a whole number", option, text);
}

int cli_parse_numbers(const char *option, const char *text, double **out, size_t *n) {
  struct number_list list = {0};
  int code = each_item(option, text, add_number, &list);
  if (code != NK_OK) {
    nk_free(list.item);
    return code;
  }
  *out = list.item;
  *n = list.n;
  return NK_OK;
}

struct id_list {
  int64_t *item;
  size_t n;
  size_t capacity;
};

enum { MAX_IDS = 1 << 24 }; /* more than any vocabulary has: "0-9999999999" is a mistake */

static int append_ids(struct id_list *list, uint64_t first, size_t n) {
  if (list->n + n > list->capacity) {
    size_t capacity = (list->n + n) * 2;
    int64_t *grown = nk_realloc(list->item, list->n, capacity, sizeof *list->item);
    if (grown == NULL) return NK_EMEMORY;
    list->item = grown;
    list->capacity = capacity;
  }
  for (size_t i = 0; i < n; i++) list->item[list->n++] = (int64_t)(first + i);
  return NK_OK;
}

/* "7" or "10-20" */
static int add_ids(void *pointer, const char *option, const char *item) {
  struct id_list *list = pointer;
  size_t length = strcspn(item, "-");
  char *from = nk_strndup(item, length);
  uint64_t first = 0, last = 0;
  if (from == NULL) return NK_EMEMORY;
  bool valid = parse_whole(from, &first);
  nk_free(from);
  if (item[length] == 0) last = first;
  if (!valid || (item[length] == '-' && !parse_whole(item + length + 1, &last)))
    return nk_fail(NK_EUSAGE,
                   "%s: '%s' is neither an id nor a range such as 10-20 (nk-tokens -e TEXT MODEL "
                   "gives the ids of a text)",
                   option, item);
  if (last < first) return nk_fail(NK_EUSAGE, "%s: '%s' is an empty range", option, item);
  if (last > INT64_MAX || last - first >= MAX_IDS - list->n)
    return nk_fail(NK_EUSAGE, "%s: '%s': more than %d ids", option, item, MAX_IDS);
  return append_ids(list, first, (size_t)(last - first) + 1);
}

int cli_parse_ids(const char *option, const char *text, int64_t **out, size_t *n) {
  struct id_list list = {0};
  int code = each_item(option, text, add_ids, &list);
  if (code != NK_OK) {
    nk_free(list.item);
    return code;
  }
  *out = list.item;
  *n = list.n;
  return NK_OK;
}
