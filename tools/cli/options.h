/* Command lines. A tool describes its options in a table; the options that every tool has (-o,
 * --json, --threads, --seed, -q, -h, --help, --version) are added to it here. Long options take
 * `--name VALUE` and `--name=VALUE`, may be cut short where that is unambiguous, and may stand
 * anywhere among the operands; `--` ends them. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cli_option_type {
  CLI_OPTION_FLAG,   /* target: bool, set true */
  CLI_OPTION_STRING, /* target: const char *, points into argv */
  CLI_OPTION_SIZE,   /* target: size_t, a whole number >= 0 */
  CLI_OPTION_SEED,   /* target: uint64_t */
  CLI_OPTION_NUMBER, /* target: double, finite */
  CLI_OPTION_LIST,   /* target: struct cli_strings; each use appends */
  CLI_OPTION_CHOICE, /* target: int, the index in choices ("input|output|position") */
};

/* Strings that an option gathered; they point into argv, the array is freed by cli_strings_free. */
struct cli_strings {
  const char **item;
  size_t n;
};

struct cli_option {
  char letter;      /* 'o', or 0 for none */
  const char *name; /* "output", or NULL for none */
  enum cli_option_type type;
  void *target;
  const char *argument; /* "FILE", for the help; CLI_OPTION_CHOICE: "input|output|position" */
  const char *help;     /* one line */
};

/* Every tool's own options; its defaults are seed 0 and the machine's own number of threads. */
struct cli_common {
  const char *output; /* NULL: standard output */
  bool json;
  size_t threads; /* 0: as the machine has */
  uint64_t seed;
  bool quiet;
  bool help;    /* --help was asked for */
  bool version; /* --version was asked for */
};

struct cli_tool {
  const char *name;    /* "nk-stats" */
  const char *summary; /* one line: "norms and distances of every row of a vector set" */
  const char *usage;   /* what follows the name: "[OPTION]... [SET]" */
  const struct cli_option *options;
  size_t n_options;
  const char *example; /* a line that works */
};

/* Reads argv. *operands gets what is no option, in its order: [*n_operands], free with nk_free.
 * Returns 0, or NK_EUSAGE with a message ("unknown option '--foo'"); operands are set either way.
 */
int cli_options_parse(const struct cli_tool *tool, struct cli_common *common, int argc, char **argv,
                      char ***operands, size_t *n_operands);
/* The help text of the tool, at most 80 columns wide. */
void cli_options_help(const struct cli_tool *tool, struct nk_buffer *out);
void cli_strings_free(struct cli_strings *strings);

/* "0.5,0.9,0.99" and "3,10-20" as arrays, for options that take lists. Free *out with nk_free.
 * Return 0 or NK_EUSAGE naming the bad item; `what` is the option's name for the message. */
int cli_parse_numbers(const char *what, const char *text, double **out, size_t *n);
int cli_parse_ids(const char *what, const char *text, int64_t **out, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
